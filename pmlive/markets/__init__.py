"""The venue's catalogue: which markets there are, and what a text that names one means."""

from pmlive.markets.catalogue import Catalogue
from pmlive.markets.finding import find
from pmlive.markets.found import Found, tradable
from pmlive.markets.http import Policy
from pmlive.markets.ids import is_long_token_id, is_token_id
from pmlive.markets.market import FeeSchedule, Market, described
from pmlive.markets.references import Reference, reference
from pmlive.markets.series import Series
from pmlive.markets.text import clean
from pmlive.markets.wire import clob_market, gamma_event, gamma_market, gamma_markets, gamma_search

__all__ = [
    "Catalogue",
    "FeeSchedule",
    "Found",
    "Market",
    "Policy",
    "Reference",
    "Series",
    "clean",
    "clob_market",
    "described",
    "find",
    "gamma_event",
    "gamma_market",
    "gamma_markets",
    "gamma_search",
    "is_long_token_id",
    "is_token_id",
    "reference",
    "tradable",
]
