"""The venue's side of one token, written by hand: its book, and the messages that tell of it."""

import json
from collections.abc import Mapping

from pmlive.book import Book
from pmlive.events import BookSide
from pmlive.integrity import Facts, book_hash

__all__ = ["FACTS", "START", "Venue", "price_change"]

START = 1_790_000_000_000
FACTS = Facts(min_order_size="5", tick_size="0.01", neg_risk=False, last_trade_price="0.500")

Entry = Mapping[str, str]


def price_change(*entries: Entry, at: int, market: str = "0xm") -> str:
    """Write one message of level changes; times are milliseconds since ``START``."""
    frame = {"market": market, "price_changes": entries, "timestamp": str(START + at), "event_type": "price_change"}
    return json.dumps(frame)


class Venue:
    """One token as the venue knows it; what is put is known here, and to others only once it is said."""

    def __init__(self, token: str = "1", market: str = "0xm", facts: Facts = FACTS) -> None:  # no secret
        self.token = token
        self.market = market
        self.facts = facts
        self.book = Book()
        for price in ("0.40", "0.41", "0.42"):
            self.book.put("bid", price, "10")
        for price in ("0.60", "0.59", "0.58"):
            self.book.put("ask", price, "10")
        self.changed = 0

    def hash(self, at: int) -> str:
        return book_hash(self.book, self.market, self.token, START + at, self.facts)

    def put(self, side: BookSide, price: str, size: str, at: int) -> None:
        self.book.put(side, price, size)
        self.changed = at

    def entry(self, side: BookSide, price: str, size: str, at: int, **said: str) -> Entry:
        """Change a level, and write the entry that tells of it; ``said`` replaces what is true."""
        self.put(side, price, size, at)
        bid, ask = self.book.best_bid, self.book.best_ask
        true = {
            "asset_id": self.token,
            "price": price,
            "size": size,
            "side": "BUY" if side == "bid" else "SELL",
            "hash": self.hash(at),
            "best_bid": "0" if bid is None else str(bid),
            "best_ask": "1" if ask is None else str(ask),
        }
        return true | said

    def change(self, side: BookSide, price: str, size: str, at: int, **said: str) -> str:
        return price_change(self.entry(side, price, size, at, **said), at=at, market=self.market)

    def _book(self, hash_: str | None) -> dict[str, object]:
        return {
            "market": self.market,
            "asset_id": self.token,
            "timestamp": str(START + self.changed),
            "hash": self.hash(self.changed) if hash_ is None else hash_,
            "bids": json.loads(self.book.bids.to_json()),
            "asks": json.loads(self.book.asks.to_json()),
        }

    def opening(self, hash_: str | None = None) -> str:
        """Write the opening array."""
        more = {
            "tick_size": self.facts.tick_size,
            "event_type": "book",
            "last_trade_price": self.facts.last_trade_price,
        }
        return json.dumps([self._book(hash_) | more])

    def later(self, hash_: str | None = None) -> str:
        """Write the whole book as it is sent later."""
        return json.dumps(self._book(hash_) | {"event_type": "book"})

    def rest(self) -> bytes:
        """Write the whole book as REST answers it."""
        more = {
            "min_order_size": self.facts.min_order_size,
            "tick_size": self.facts.tick_size,
            "neg_risk": self.facts.neg_risk,
            "last_trade_price": self.facts.last_trade_price,
        }
        return json.dumps(self._book(None) | more).encode()

    def trade(self, price: str, at: int) -> str:
        return json.dumps(
            {
                "market": self.market,
                "asset_id": self.token,
                "price": price,
                "size": "2.5",
                "fee_rate_bps": "0",
                "side": "SELL",
                "timestamp": str(START + at),
                "event_type": "last_trade_price",
                "transaction_hash": "0xt",
            }
        )
