"""The integrity of a rebuilt book, proved by the hash that the venue states with every change.

The venue states a SHA-1 of the JSON of the whole book. That JSON has had different keys over the years, and its last
trade price changes before the trade is announced. So a proof tries the facts that fitted the last state, then the keys
of other years, then every trade price. Any match is a proof, since SHA-1 does not match by chance.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import product
from operator import attrgetter
from typing import Literal, Protocol, Self, TypeAlias

import msgspec

from pmlive.book import Book
from pmlive.events import Check

__all__ = [
    "Counts",
    "Facts",
    "Proof",
    "book_digest",
    "book_hash",
    "candidate_facts",
    "facts_text",
    "prove",
    "trade_price_text",
]

Era: TypeAlias = Literal["2024", "2025", "current"]

# The values that most markets share, tried when those of a market are not known.
_COMMON_MINIMUMS = ("5", "15", "1", "10", "20", "50", "100")
_COMMON_TICKS = ("0.01", "0.001", "0.1", "0.0001", "0.0025")

# After this many hashes of a token without a match, none is tried: the venue hashes something that is not known here.
_MOST_FAILURES = 8
_TRADE_PRICES = tuple(f"{thousandths / 1000:.3f}" for thousandths in range(1001))

# The texts of facts that are cached; many markets share one.
_CACHE_SIZE = 4096


class HashObject(Protocol):
    """The type of ``hashlib``'s hash objects, which has no public name."""

    def copy(self) -> Self:
        """Return a copy to go on from."""
        ...

    def update(self, data: bytes, /) -> None:
        """Add more text."""
        ...

    def hexdigest(self) -> str:
        """Return the hash of all text that was added."""
        ...


class Facts(msgspec.Struct, frozen=True):
    """What a book's hash covers besides its levels; ``era`` names the set of keys that the venue used."""

    min_order_size: str | None = None
    tick_size: str | None = None
    neg_risk: bool | None = None
    last_trade_price: str | None = None
    era: Era = "current"

    @property
    def complete(self) -> bool:
        """Whether every fact that the era's hash covers is known."""
        if self.era == "2024":
            return True
        known = None not in (self.min_order_size, self.tick_size, self.neg_risk)
        return known and (self.era == "2025" or self.last_trade_price is not None)


@lru_cache(_CACHE_SIZE)
def facts_text(facts: Facts) -> bytes:
    """Return the end of the JSON that is hashed."""
    if facts.era == "2024":
        return b"}"
    neg_risk = "true" if facts.neg_risk else "false"
    text = f',"min_order_size":"{facts.min_order_size}","tick_size":"{facts.tick_size}","neg_risk":{neg_risk}'
    if facts.era == "current":
        text += f',"last_trade_price":"{facts.last_trade_price}"'
    return text.encode() + b"}"


def book_text(book: Book, market: str, token_id: str, timestamp: int) -> bytes:
    """Return the JSON that is hashed up to the ``Facts``; ``timestamp`` is the venue's, in milliseconds."""
    opening = f'{{"market":"{market}","asset_id":"{token_id}","timestamp":"{timestamp}","hash":"","bids":'.encode()
    return b"".join((opening, book.bids.to_json(), b',"asks":', book.asks.to_json()))


def book_digest(book: Book, market: str, token_id: str, timestamp: int) -> HashObject:
    """Hash the JSON up to the ``Facts``; ``timestamp`` is the venue's, in milliseconds."""
    return hashlib.sha1(book_text(book, market, token_id, timestamp), usedforsecurity=False)


def book_hash(book: Book, market: str, token_id: str, timestamp: int, facts: Facts) -> str:
    """Return the venue's hash of a book, 40 hexadecimal digits."""
    return _hash_with(book_digest(book, market, token_id, timestamp), facts)


def _hash_with(digest: HashObject, facts: Facts) -> str:
    whole = digest.copy()
    whole.update(facts_text(facts))
    return whole.hexdigest()


def prove(digest: HashObject, stated: str, candidates: Iterator[Facts]) -> Facts | None:
    """Return the first of the candidates that give the hash that the venue stated."""
    return next((facts for facts in candidates if _hash_with(digest, facts) == stated), None)


def candidate_facts(known: Facts, *, trade_price: str | None = None, search: bool = True) -> Iterator[Facts]:
    """Yield the facts that a hash may have covered, likeliest first.

    ``trade_price`` is one more price to try early, such as the last one announced. Unknown facts are taken from those
    that most markets share. ``search`` adds every trade price of three decimals.
    """
    if known.complete:
        yield known
    likely = [price for price in (trade_price, known.last_trade_price) if price is not None]
    for base in _common_facts(known):
        yield from (msgspec.structs.replace(base, last_trade_price=price) for price in likely)
    for base in _common_facts(known):
        yield msgspec.structs.replace(base, era="2025", last_trade_price=None)
    yield Facts(era="2024")
    # A new tick size, like a new trade price, may be in the hash before it is announced.
    for tick in _COMMON_TICKS:
        yield from (msgspec.structs.replace(known, tick_size=tick, last_trade_price=price) for price in likely)
    if not search:
        return
    for base in _common_facts(known, most=1 if known.complete else 4):
        yield from (msgspec.structs.replace(base, last_trade_price=price) for price in _TRADE_PRICES)


def _common_facts(known: Facts, most: int | None = None) -> Iterator[Facts]:
    minimums = _COMMON_MINIMUMS if known.min_order_size is None else (known.min_order_size,)
    ticks = _COMMON_TICKS if known.tick_size is None else (known.tick_size,)
    neg_risks = (False, True) if known.neg_risk is None else (known.neg_risk,)
    for count, (minimum, tick, neg_risk) in enumerate(product(minimums, ticks, neg_risks)):
        if most is not None and count >= most:
            return
        yield Facts(min_order_size=minimum, tick_size=tick, neg_risk=neg_risk)


def trade_price_text(text: str) -> str:
    """Return a trade's price as it is hashed, with at least three decimals.

    >>> trade_price_text("0.5"), trade_price_text(".48"), trade_price_text("0.4975")
    ('0.500', '0.480', '0.4975')
    """
    whole, _, decimals = text.partition(".")
    return f"{whole or '0'}.{decimals:0<3}"


# A dataclass, because incrementing fields of a msgspec struct is slower.
@dataclass(slots=True)
class Counts:
    """The outcomes of the three checks, in the order of the columns of ``checks``."""

    hash_verified: int = 0
    hash_unverifiable: int = 0
    hash_mismatch: int = 0
    bbo_ok: int = 0
    bbo_mismatch: int = 0
    snapshot_ok: int = 0
    snapshot_mismatch: int = 0

    @classmethod
    def total(cls, many: "Iterable[Counts]") -> "Counts":
        """Return the sum of many counts."""
        return cls(*map(sum, zip(*(each.values() for each in many), strict=True)))

    @property
    def mismatches(self) -> int:
        """How many checks of any kind did not fit."""
        return self.hash_mismatch + self.bbo_mismatch + self.snapshot_mismatch

    def values(self) -> tuple[int, ...]:
        """Return the counts in the order of the columns."""
        return _numbers(self)

    @classmethod
    def names(cls) -> list[str]:
        """List the columns of the counts."""
        return [field.name for field in fields(cls)]


_numbers: Callable[[Counts], tuple[int, ...]] = attrgetter(*Counts.names())


class Proof(msgspec.Struct):
    """The state of proving one token's books: which facts fitted its hashes so far.

    A hash that cannot be reproduced is unverifiable until one hash of the token has been, since it may cover facts that
    are not known here. After that it is a mismatch.
    """

    facts: Facts = Facts()
    # The price of the last announced trade; hashes may have covered it for a while, or may yet.
    announced: str | None = None
    established: bool = False
    # Whether the last state that was checked could be neither proved nor refuted.
    undecided: bool = False
    failures: int = 0
    tail: bytes = b""

    def learn(self, **facts: str | bool | None) -> None:
        """Set facts that the venue stated, leaving those that it did not mention."""
        stated = {name: value for name, value in facts.items() if value is not None}
        if stated and stated != {name: getattr(self.facts, name) for name in stated}:
            self.facts = msgspec.structs.replace(self.facts, **stated)
            self.tail = facts_text(self.facts)

    def check(self, book: Book, market: str, token_id: str, timestamp: int, stated: str) -> Check:
        """Compare a book with the hash stated for it; ``timestamp`` is the venue's, in milliseconds."""
        if not stated or (not self.established and self.failures >= _MOST_FAILURES):
            self.undecided = True
            return "unverifiable"
        text = book_text(book, market, token_id, timestamp)
        if hashlib.sha1(text + self.tail, usedforsecurity=False).hexdigest() == stated or self._find(text, stated):
            self.established, self.failures, self.undecided = True, 0, False
            return "verified"
        self.failures += 1
        self.undecided = not self.established
        return "mismatch" if self.established else "unverifiable"

    def check_whole(self, book: Book, market: str, token_id: str, timestamp: int, stated: str) -> Check:
        """Compare a book that the venue sent whole with its hash, however many hashes did not fit before.

        A mismatch then shows that the known facts are wrong, not the book.
        """
        self.failures = min(self.failures, _MOST_FAILURES - 1)
        found = self.check(book, market, token_id, timestamp, stated)
        if found == "mismatch":
            self.established, self.failures = False, 0
        return found

    def _find(self, text: bytes, stated: str) -> bool:
        """Find facts with which a book has the hash stated for it, and go on with them."""
        digest = hashlib.sha1(text, usedforsecurity=False)
        search = self.established or self.facts.last_trade_price is None
        announced = None if self.announced is None else trade_price_text(self.announced)
        candidates = candidate_facts(self.facts, trade_price=announced, search=search)
        if self.tail and self.facts.complete:
            next(candidates)  # the facts that did not fit
        facts = prove(digest, stated, candidates)
        if facts is None:
            return False
        self.facts, self.tail = facts, facts_text(facts)
        return True

    def fits(self, book: Book, market: str, token_id: str, timestamp: int, stated: str) -> bool:
        """Check whether the facts that fitted last, or the last announced trade, give the stated hash; note nothing.

        Not every trade price is tried, so a book may be right although this returns False.
        """
        digest = book_digest(book, market, token_id, timestamp)
        announced = self.facts.last_trade_price if self.announced is None else trade_price_text(self.announced)
        likely = (self.facts, msgspec.structs.replace(self.facts, last_trade_price=announced))
        return bool(stated) and any(_hash_with(digest, facts) == stated for facts in likely)
