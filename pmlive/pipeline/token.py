"""What is known of one token: its book, whether it is proven, and what was counted."""

import math
from collections.abc import Callable
from operator import attrgetter
from typing import Literal, TypeAlias

from pmlive.book import Book
from pmlive.events import BookSide, Gap
from pmlive.integrity import Counts, Proof
from pmlive.records import Change, TokenState
from pmlive.times import CLOCK_ERROR_NS, LONGEST_LATENCY_NS

__all__ = ["EMPTY", "PLACE", "SIDES", "Token", "TokenState"]

BookState: TypeAlias = Literal["verified", "unverifiable", "stale", "none"]

# The venue's words for the sides of a book.
SIDES: dict[str, BookSide] = {"BUY": "bid", "SELL": "ask"}

# Best bid, its size, best ask, its size. Where a side is empty they are this very object, so that tops can be compared.
Top: TypeAlias = tuple[float, float, float, float]
EMPTY = math.nan

# How many changes are held for a snapshot that may be older than they are.
_HELD = 10_000


class Token:
    """One token's book in its present connection epoch."""

    __slots__ = (
        "asked",
        "awaited",
        "book",
        "changed",
        "checked",
        "conn",
        "counts",
        "covered",
        "gap",
        "heard",
        "held",
        "id",
        "lapse",
        "link",
        "market",
        "market_number",
        "messages",
        "misfit",
        "number",
        "odd_top",
        "over",
        "pending",
        "place",
        "proof",
        "proved_ms",
        "proved_ns",
        "reached",
        "row",
        "shown",
        "stated",
        "timestamp",
        "told",
    )

    def __init__(self, token_id: str, market: str = "") -> None:
        self.id = token_id
        self.market = market
        # What packed rows name them by, and the place among the tokens that are followed.
        self.number = self.market_number = self.place = 0
        self.book = Book()
        # The epoch whose snapshot the book began with, 0 while there is none, and the one that was asked for it.
        self.conn = 0
        self.link = 0
        # The venue's time of the last change (ms); ours of the last message (ns), how many came, and how many of these
        # were told of.
        self.timestamp = 0
        self.heard = self.messages = self.told = 0
        # When the last state that was proved came (ns), and when the venue sent it (ms; 0 where that is not known).
        self.proved_ns = self.proved_ms = 0
        self.proof = Proof()
        # The venue's time up to which the last snapshot holds every change.
        self.covered = 0
        # Changes that came while there was no book to trust, for a snapshot that is older than they are.
        self.held: list[Change] = []
        # The last state of the last millisecond, to be checked once it is past: its stated hash and its row (-1 where
        # it has none to tell the outcome in).
        self.stated = ""
        self.row: int | None = None
        self.reached = 0
        self.pending = False
        # Stated best prices that were not the book's; a change that came late may yet explain them.
        self.odd_top: tuple[float | None, float | None] | None = None
        # A state whose hash did not fit, its row and its time, until the next state tells whether the book is wrong.
        self.misfit: tuple[int, int] | None = None
        # The top of the book as last shown in ``prices``, and whether ``depth`` is due.
        self.shown: Top | None = None
        self.changed = False
        self.gap: Gap | None = None
        # Since when the first book of all is waited for (0 once it came), and the gap before this run that lasts until
        # then, if an earlier run followed the token; after a resolution nothing can be missed.
        self.asked = self.awaited = 0
        self.lapse: Gap | None = None
        self.over = False
        self.counts, self.checked = Counts(), 0  # of this minute, and how many there were before

    @property
    def proved(self) -> int:
        """Since when changes may be missing (ns): where they come late, those that were lost were sent long before."""
        sent = self.proved_ms * 1_000_000
        return sent if CLOCK_ERROR_NS < self.proved_ns - sent <= LONGEST_LATENCY_NS else self.proved_ns

    @property
    def gaps(self) -> list[Gap]:
        """The gaps that have not ended."""
        return [gap for gap in (self.lapse, self.gap) if gap is not None]

    def trusted(self) -> bool:
        """Return whether the book has a snapshot of its epoch and no gap."""
        return self.conn != 0 and self.gap is None

    def verified(self) -> bool:
        """Return whether the book had the venue's hash when it was checked last."""
        return self.proof.established and not self.proof.undecided and self.misfit is None

    @property
    def state(self) -> BookState:
        """Whether the book is there, trusted and proved."""
        if self.gap is not None:
            return "stale"
        if not self.conn:
            return "none"
        return "verified" if self.verified() else "unverifiable"

    def hold(self, change: Change) -> None:
        """Keep a change for the next snapshot."""
        self.held.append(change)
        if len(self.held) >= 2 * _HELD:
            del self.held[:-_HELD]

    def holds_since(self, timestamp: int) -> bool:
        """Return whether every change after a time of the venue (ms) is held."""
        return 0 < len(self.held) < _HELD and self.held[0][0] <= timestamp

    def save(self) -> TokenState:
        """Write down everything that later rows depend on."""
        return TokenState(
            token_id=self.id,
            market=self.market,
            conn=self.conn,
            link=self.link,
            timestamp=self.timestamp,
            heard=self.heard,
            proved=self.proved,
            bids=self.book.bids.level_texts(),
            asks=self.book.asks.level_texts(),
            proof=self.proof,
            stated=self.stated,
            held=list(self.held),
            covered=self.covered,
            shown=self.shown,
            counts=self.counts,
            gap=self.gap,
            awaited=self.awaited,
            lapse=self.lapse,
            over=self.over,
            place=self.place,
        )

    @classmethod
    def load(cls, state: TokenState) -> "Token":
        """Go on from what was written down."""
        token = cls(state.token_id, state.market)
        for side, levels in ((token.book.bids, state.bids), (token.book.asks, state.asks)):
            for price, size in levels:
                side.put(price, size)
        for name in (
            "conn",
            "link",
            "timestamp",
            "heard",
            "proof",
            "stated",
            "counts",
            "covered",
            "gap",
            "awaited",
            "lapse",
            "over",
            "place",
        ):
            setattr(token, name, getattr(state, name))
        token.proved_ns = state.proved
        token.held = list(state.held)
        if state.shown is not None:
            bid, bid_size, ask, ask_size = (EMPTY if number is None else number for number in state.shown)
            token.shown = bid, bid_size, ask, ask_size
        return token


# By which tokens are sorted in the order in which they came.
PLACE: Callable[[Token], int] = attrgetter("place")
