"""The venue's catalogue of markets, and the ways to name one."""

from pmlive.markets.catalogue import Catalogue, find
from pmlive.markets.market import FeeSchedule, Found, Market, clean, described, tradable
from pmlive.markets.references import Reference, Series, is_long_token_id, is_token_id, reference
from pmlive.markets.responses import clob_market, gamma_event, gamma_market, gamma_markets, gamma_search
from pmlive.retries import RequestPolicy as Policy

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
