"""Frames of realistic shape that agree with themselves: every change follows from the book before it.

A market's two tokens mirror each other: a bid of one is an ask of the other at one dollar less the price. Best prices
are always right, and hashes too unless random ones are asked for.
"""

import json
import random
from collections.abc import Iterator
from itertools import accumulate, count, islice
from pathlib import Path
from typing import Literal, TypeAlias

from pmlive.book import Book
from pmlive.events import BookSide
from pmlive.integrity import Facts, book_hash

__all__ = ["Hashes", "Market", "World", "frames", "write"]

Hashes: TypeAlias = Literal["right", "random"]

# Of a hundred frames: 85 price changes, 10 trades, 5 books, of which some come as an array with the mirror's.
_KINDS = ("price_change", "trade", "book", "books")
_SHARES = (85.0, 10.0, 4.4, 0.6)

_LEVELS = (30, 60)
_OPENING_BOOKS = 20
_START = 1_791_000_000_000
_MIRROR: dict[BookSide, BookSide] = {"bid": "ask", "ask": "bid"}
_WORD: dict[BookSide, str] = {"bid": "BUY", "ask": "SELL"}


class Token:
    """One outcome: its book as the venue keeps it."""

    def __init__(self, market: "Market", rng: random.Random) -> None:
        self.id = str(rng.getrandbits(254))
        self.book = Book()
        self.changed = _START
        self._market = market

    def stated_hash(self) -> str:
        if self._market.hashes == "random":
            return f"{self._market.rng.getrandbits(160):040x}"
        return book_hash(self.book, self._market.id, self.id, self.changed, self._market.facts[self.id])

    def opening(self) -> str:
        facts = self._market.facts[self.id]
        last = f'"tick_size":"{facts.tick_size}","event_type":"book","last_trade_price":"{facts.last_trade_price}"'
        return self._levels_message(last)

    def again(self) -> str:
        return self._levels_message('"event_type":"book"')

    def change(self, side: BookSide, price: str, size: str) -> str:
        bid, ask = self.book.best_bid, self.book.best_ask
        return (
            f'{{"asset_id":"{self.id}","price":"{price}","size":"{size}","side":"{_WORD[side]}",'
            f'"hash":"{self.stated_hash()}","best_bid":"{bid}","best_ask":"{ask}"}}'
        )

    def _levels_message(self, rest: str) -> str:
        return (
            f'{{"market":"{self._market.id}","asset_id":"{self.id}","timestamp":"{self.changed}",'
            f'"hash":"{self.stated_hash()}","bids":{self.book.bids.to_json().decode()},'
            f'"asks":{self.book.asks.to_json().decode()},{rest}}}'
        )


class Market:
    """Two mirrored tokens and the frames about them."""

    def __init__(self, rng: random.Random, hashes: Hashes) -> None:
        self.id = f"0x{rng.getrandbits(256):064x}"
        self.rng = rng
        self.hashes: Hashes = hashes
        self.tick, self._ticks = rng.choice((("0.01", 100), ("0.001", 1000)))
        self.yes, self.no = self.tokens = (Token(self, rng), Token(self, rng))
        self.facts = {token.id: self._facts("0.500") for token in self.tokens}
        self._open(middle=rng.randrange(self._ticks * 2 // 5, self._ticks * 3 // 5))

    def price_change(self, now: int) -> str:
        side, tick = self._move()
        size = "0" if self._leaves(side, tick) else self._size()
        self._put(side, tick, size, now)
        mirror = _MIRROR[side]
        return (
            f'{{"market":"{self.id}","price_changes":[{self.yes.change(side, self._price(tick), size)},'
            f"{self.no.change(mirror, self._price(self._ticks - tick), size)}],"
            f'"timestamp":"{now}","event_type":"price_change"}}'
        )

    def trade(self, now: int) -> str:
        side: BookSide = self.rng.choice(("bid", "ask"))
        price = self._price(self._best(side))
        self.facts[self.yes.id] = self._facts(price)
        return (
            f'{{"market":"{self.id}","asset_id":"{self.yes.id}","price":"{price}","size":"{self._size()}",'
            f'"fee_rate_bps":"0","side":"{_WORD[_MIRROR[side]]}","timestamp":"{now}","event_type":"last_trade_price",'
            f'"transaction_hash":"0x{self.rng.getrandbits(256):064x}"}}'
        )

    def about(self) -> dict[str, object]:
        """Describe the market as the catalogue does."""
        return {
            "id": str(int(self.id[-8:], 16)),
            "conditionId": self.id,
            "slug": f"market-{self.id[-8:]}",
            "question": f"Will {self.id[-8:]} happen?",
            "outcomes": '["Yes", "No"]',
            "clobTokenIds": json.dumps([token.id for token in self.tokens]),
            "orderPriceMinTickSize": float(self.tick),
            "orderMinSize": 5,
            "negRisk": False,
            "active": True,
            "closed": False,
            "acceptingOrders": True,
        }

    def _open(self, middle: int) -> None:
        reach = min(middle - 1, self._ticks - middle - 1)
        for side, sign in (("bid", -1), ("ask", 1)):
            levels = min(self.rng.randint(*_LEVELS), reach)
            for away in sorted(self.rng.sample(range(1, min(levels * 2, reach) + 1), levels)):
                self._put("bid" if side == "bid" else "ask", middle + sign * away, self._size(), _START)

    def _move(self) -> tuple[BookSide, int]:
        """Choose a level: most activity is near the top, and now and then inside the spread."""
        side: BookSide = self.rng.choice(("bid", "ask"))
        inwards = 1 if side == "bid" else -1
        best, other = self._best(side), self._best(_MIRROR[side])
        inside = abs(other - best) > 1 and self.rng.random() < 0.3
        tick = best + inwards if inside else best - inwards * int(self.rng.expovariate(0.2))
        crowded = self._levels(side) >= _LEVELS[1] and not self._has(side, tick)
        return side, best if crowded or not 0 < tick < self._ticks else tick

    def _leaves(self, side: BookSide, tick: int) -> bool:
        return self._has(side, tick) and self._levels(side) > _LEVELS[0] and self.rng.random() < 0.3

    def _put(self, side: BookSide, tick: int, size: str, now: int) -> None:
        self.yes.book.put(side, self._price(tick), size)
        self.no.book.put(_MIRROR[side], self._price(self._ticks - tick), size)
        self.yes.changed = self.no.changed = now

    def _keys(self, side: BookSide) -> list[float]:
        return self.yes.book.bids.keys if side == "bid" else self.yes.book.asks.keys

    def _levels(self, side: BookSide) -> int:
        return len(self._keys(side))

    def _has(self, side: BookSide, tick: int) -> bool:
        return tick / self._ticks * (-1 if side == "bid" else 1) in self._keys(side)

    def _best(self, side: BookSide) -> int:
        return round(abs(self._keys(side)[0]) * self._ticks)

    def _price(self, tick: int) -> str:
        return f"{tick / self._ticks:.{2 if self._ticks == 100 else 3}f}"

    def _size(self) -> str:
        whole = self.rng.lognormvariate(5, 2)
        return f"{whole + 5:.0f}" if self.rng.random() < 0.4 else f"{whole + 5:.2f}"

    def _facts(self, last_trade_price: str) -> Facts:
        return Facts(
            min_order_size="5", tick_size=self.tick, neg_risk=False, last_trade_price=f"{last_trade_price:0<5}"
        )


class World:
    """Markets of very different activity, as on the venue: a few have most of it."""

    def __init__(self, *, markets: int = 60, seed: int = 1, hashes: Hashes = "right") -> None:
        self._rng = random.Random(seed)
        self.markets = [Market(self._rng, hashes) for _ in range(markets)]
        self._activity = list(accumulate(1 / rank**0.9 for rank in range(1, markets + 1)))
        self._clock = count()

    @property
    def tokens(self) -> list[Token]:
        """List the tokens, a market's two beside each other."""
        return [token for market in self.markets for token in market.tokens]

    def opening(self, token_ids: frozenset[str] | None = None) -> Iterator[bytes]:
        """Write the arrays of books that answer a subscription to these tokens, or to all."""
        wanted = iter([token for token in self.tokens if token_ids is None or token.id in token_ids])
        while some := [token.opening() for token in islice(wanted, _OPENING_BOOKS)]:
            yield _array(some)

    def frames(self) -> Iterator[bytes]:
        """Write what happens next, without end."""
        for at in self._clock:
            now = _START + at // 5
            (market,) = self._rng.choices(self.markets, cum_weights=self._activity)
            (kind,) = self._rng.choices(_KINDS, _SHARES)
            yield _frame(market, kind, now)


def _frame(market: Market, kind: str, now: int) -> bytes:
    match kind:
        case "price_change":
            return market.price_change(now).encode()
        case "trade":
            return market.trade(now).encode()
        case "book":
            return market.rng.choice(market.tokens).again().encode()
        case _:
            return _array([token.again() for token in market.tokens])


def _array(messages: list[str]) -> bytes:
    return f"[{','.join(messages)}]".encode()


def frames(amount: int, *, seed: int = 1, hashes: Hashes = "right") -> Iterator[bytes]:
    """Write the opening books of 60 markets, and so many frames after them."""
    world = World(seed=seed, hashes=hashes)
    yield from world.opening()
    yield from islice(world.frames(), amount)


def write(path: Path, amount: int) -> Path:
    """Keep a corpus as one frame a line, unless it is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            file.writelines(frame + b"\n" for frame in frames(amount))
        unfinished.rename(path)
    return path
