"""What holds of any venue that a person can reach: the real one, or a simulated one that stands in for it."""

import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import cast
from urllib.parse import urlsplit

import polars as pl
from support.waiting import wait_until

from pmlive.manager import Manager
from pmlive.markets import Market
from pmlive.settings import Venue

__all__ = [
    "books_come",
    "hashes_verify",
    "ids_resolve",
    "of_protocol_v2",
    "open_markets",
    "reason_unreachable",
    "reference_price_comes",
    "watched",
]

_PATIENCE = 45.0
_MOST = 3
# What is searched for; no setting of the machine is there any more when tests run.
_WORDS = os.environ.get("PMLIVE_LIVE_WORDS", "will")


def reason_unreachable(venue: Venue, seconds: float = 3.0) -> str:
    """Say why a venue cannot be asked, without asking it; nothing where it can."""
    for name, url in (("PMLIVE_GAMMA_URL", venue.gamma), ("PMLIVE_CLOB_URL", venue.clob)):
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), seconds).close()
        except OSError as error:
            return f"no network: {parts.hostname}:{port} ({name}) cannot be reached ({error})"
    return ""


def open_markets(manager: Manager) -> list[Market]:
    """Find some markets that trade now."""
    found = [market for market in manager.find(_WORDS) if _is_open(market)]
    assert found, f"no open market is found by {_WORDS!r}; set PMLIVE_LIVE_WORDS to a word of one"
    return sorted(found, key=lambda market: market.volume or 0, reverse=True)[:_MOST]


def _is_open(market: Market) -> bool:
    return not market.closed and bool(market.token_ids)


def of_protocol_v2(manager: Manager) -> Market | None:
    """Find a market of protocol V2 that trades now, if a search lists one."""
    for words in (_WORDS, "the", "bitcoin", "win"):
        for market in manager.find(words):
            if market.version == "v2" and _is_open(market):
                return market
    return None


def ids_resolve(manager: Manager, market: Market) -> None:
    """Each name of a market means that market."""
    for name in (market.slug, market.condition_id, *market.token_ids):
        assert market.condition_id in [found.condition_id for found in manager.find(name)], name
    assert len(market.outcomes) == len(market.token_ids)


def watched(manager: Manager, markets: Sequence[Market]) -> list[str]:
    """Watch markets, and give their tokens."""
    manager.watch(list(markets))
    return [token_id for market in markets for token_id in market.token_ids]


def books_come(manager: Manager, tokens: Sequence[str]) -> None:
    """Every token has an opening book, and no gap."""
    wait_until(lambda: _books(manager)["trusted"] == len(tokens), _PATIENCE, what="that every opening book is there")
    for token_id in tokens:
        assert manager.book(token_id).token_id == token_id
    assert manager.gaps.filter(pl.col("token_id").is_in(list(tokens))).height == 0


def hashes_verify(manager: Manager) -> None:
    """The venue's own hashes of the books prove what was made of its changes."""

    def verified() -> bool:
        return cast("dict[str, int]", _books(manager)["checks"])["hash_verified"] > 0

    wait_until(verified, _PATIENCE, what="that a hash of the venue is reproduced")
    assert cast("dict[str, int]", _books(manager)["checks"])["hash_mismatch"] == 0


def reference_price_comes(manager: Manager, symbol: str = "btcusd") -> None:
    """One price from outside the venue arrives."""
    manager.subscribe_reference_prices(symbol)
    wait_until(lambda: manager.reference_prices.height > 0, _PATIENCE, what=f"that a price of {symbol} is there")
    [newest] = manager.reference_prices.tail(1).to_dicts()
    assert newest["symbol"] == symbol
    assert newest["value"] > 0
    assert abs(newest["ts_recv"] - newest["ts_event"]) < timedelta(hours=1)


def _books(manager: Manager) -> dict[str, object]:
    return cast("dict[str, object]", manager.status()["books"])
