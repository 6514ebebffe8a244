"""The order book of one token.

A side is three parallel lists with the best level first: sort keys, sizes, and the levels' own text. The text is kept
because the venue's hash covers it to the letter; the punctuation that all levels share is left out. Numbers are parsed
once for each distinct text, and never computed.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from pmlive.errors import ProtocolError
from pmlive.events import BookSide, BookSnapshot, Level

__all__ = ["PRICES", "SIZES", "Book", "price", "size"]

_is_decimal = re.compile(r"[0-9]{0,40}\.?[0-9]{1,40}", re.ASCII).fullmatch

# Distinct texts cached per parser; a busy day has some ten thousand sizes and a thousand prices.
_CACHE_SIZE = 20_000

# A level on the wire is {"price":"0.48","size":"30"}; its text here is 0.48","size":"30, and these go around it.
_OPENING, _SEPARATOR, _CLOSING = '[{"price":"', '"},{"price":"', '"}]'


class _Numbers(dict[str, float]):
    """Numbers by their text, parsed when first looked up."""

    def __init__(self, *, above: float = math.inf, sign: int = 1) -> None:
        self._above = above
        self._sign = sign

    def __missing__(self, text: str) -> float:
        if not _is_decimal(text):
            raise ProtocolError(f"{text[:40]!r} is not a plain decimal number of 0 or more")
        value = float(text)
        if value > self._above:
            raise ProtocolError(f"price {text!r} is above 1 dollar a share")
        if len(self) >= _CACHE_SIZE:
            self.clear()
        self[text] = value = self._sign * value
        return value


# ``PRICES[text]`` parses a price and ``SIZES[text]`` a size, or raises a ProtocolError.
PRICES: dict[str, float] = _Numbers(above=1)
SIZES: dict[str, float] = _Numbers()

price = PRICES.__getitem__
size = SIZES.__getitem__

# Negated, so that the best bid sorts first as the best ask does.
_BIDS: dict[str, float] = _Numbers(above=1, sign=-1)


class Side:
    """One side of a book, best level first."""

    __slots__ = ("_json", "_read", "keys", "sizes", "texts")

    def __init__(self, read: dict[str, float]) -> None:
        # From the text of a price to its sort key.
        self._read = read
        self.keys: list[float] = []
        self.sizes: list[float] = []
        self.texts: list[str] = []
        # Most changes concern one side and the hash covers both, so each side caches its own JSON.
        self._json: bytes | None = None

    def replace(self, levels: Sequence[Level]) -> None:
        """Replace the whole side by these levels, in any order but usually best last."""
        read, ordered = self._read, levels[::-1]
        keys = [read[level.price] for level in ordered]
        sizes = [SIZES[level.size] for level in ordered]
        if 0 in sizes or keys != sorted(keys) or len(set(keys)) != len(keys):
            self.clear()
            for level in levels:
                self.put(level.price, level.size)
            return
        self.keys, self.sizes = keys, sizes
        self.texts = [f'{level.price}","size":"{level.size}' for level in ordered]
        self._json = None

    def put(self, price_text: str, size_text: str) -> bool | None:
        """Set the total at one price, 0 removing it; return whether the best level changed, None if nothing did."""
        key, total, keys = self._read[price_text], SIZES[size_text], self.keys
        text = f'{price_text}","size":"{size_text}'
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            if not total:
                del keys[at], self.sizes[at], self.texts[at]
            elif self.texts[at] == text:
                return None
            else:
                self.sizes[at] = total
                self.texts[at] = text
        elif total:
            keys.insert(at, key)
            self.sizes.insert(at, total)
            self.texts.insert(at, text)
        else:
            return None
        self._json = None
        return at == 0

    def clear(self) -> None:
        """Remove every level."""
        self.keys, self.sizes, self.texts, self._json = [], [], [], None

    def best(self) -> float | None:
        """Return the best price, or None when the side is empty."""
        return abs(self.keys[0]) if self.keys else None

    def prices(self, depth: int | None = None) -> list[float]:
        """Return the prices, best first, of at most ``depth`` levels."""
        return list(map(abs, self.keys[:depth]))

    def totals(self, depth: int | None = None) -> list[float]:
        """Return the sizes, best first, of at most ``depth`` levels."""
        return self.sizes[:depth]

    def to_json(self) -> bytes:
        """Return the JSON of the side as the venue writes it, best level last."""
        if self._json is None:
            text = f"{_OPENING}{_SEPARATOR.join(self.texts[::-1])}{_CLOSING}" if self.texts else "[]"
            self._json = text.encode()
        return self._json

    def level_texts(self) -> list[tuple[str, str]]:
        """List price and size as the venue wrote them, best level last."""
        split = (text.partition('","size":"') for text in reversed(self.texts))
        return [(price_text, size_text) for price_text, _, size_text in split]

    def differences(self, other: "Side") -> int:
        """Count the prices at which the two sides do not hold the same size."""
        if self.keys == other.keys and self.sizes == other.sizes:
            return 0
        mine = set(zip(self.keys, self.sizes, strict=True))
        return len({key for key, _ in mine ^ set(zip(other.keys, other.sizes, strict=True))})


class Book:
    """Both sides of one token's book, in dollars per share and shares.

    >>> book = Book()
    >>> book.put("bid", ".48", "30"), book.put("bid", "0.4", "5"), book.put("ask", "0.52", "25")
    (True, False, True)
    >>> book.best_bid, book.best_ask, book.levels("bid")
    (0.48, 0.52, [(0.48, 30.0), (0.4, 5.0)])
    """

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = Side(_BIDS)
        self.asks = Side(PRICES)

    def replace(self, snapshot: BookSnapshot) -> None:
        """Replace the whole book.

        Raises:
            ProtocolError: a price or size is not a number in range; the book is then unchanged.
        """
        fresh = Book()
        try:
            fresh.bids.replace(snapshot.bids)
            fresh.asks.replace(snapshot.asks)
        except msgspec.DecodeError as error:
            raise ProtocolError(f"the levels of the book cannot be read: {error}") from error
        self.bids, self.asks = fresh.bids, fresh.asks

    def repeats(self, snapshot: BookSnapshot) -> bool:
        """Check whether a snapshot is to the letter what this book holds; different spacing counts as different."""
        written = (self.bids.to_json(), self.asks.to_json())
        return written == (bytes(snapshot.bids_json), bytes(snapshot.asks_json))

    def put(self, side: BookSide, price_text: str, size_text: str) -> bool | None:
        """Set the total at one price, 0 removing it; return whether the top of the book changed, None if nothing did.

        Raises:
            ProtocolError: the price or size is not a number in range; the book is then unchanged.
        """
        return self.side(side).put(price_text, size_text)

    def side(self, side: BookSide) -> Side:
        """Return one side."""
        return self.bids if side == "bid" else self.asks

    @property
    def best_bid(self) -> float | None:
        """The highest bid, or None when there is none."""
        return self.bids.best()

    @property
    def best_ask(self) -> float | None:
        """The lowest ask, or None when there is none."""
        return self.asks.best()

    def levels(self, side: BookSide, depth: int | None = None) -> list[tuple[float, float]]:
        """List price and size, best first."""
        chosen = self.side(side)
        return list(zip(chosen.prices(depth), chosen.totals(depth), strict=True))

    def differences(self, other: "Book") -> int:
        """Count the prices at which the two books do not hold the same size."""
        return sum(a.differences(b) for a, b in ((self.bids, other.bids), (self.asks, other.asks)))
