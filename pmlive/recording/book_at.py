"""The book of a token at a time, rebuilt from the rows of a recording."""

from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import Literal, TypeAlias

import msgspec
import polars as pl

from pmlive.errors import BookError
from pmlive.levels import Levels, Pretty, ladder_lines, pretty
from pmlive.recording.contents import Contents, collect
from pmlive.recording.trust import HashHistory, TrustEvent, TrustTimeline, hash_history
from pmlive.times import moment, utc

__all__ = [
    "BookRow",
    "RecordedBook",
    "RecordedQuality",
    "TrustedBook",
    "absence_reason",
    "applied_changes",
    "book_from_rows",
    "quality_of",
    "read_book_row",
    "read_changes",
    "recorded_book",
    "stale_reason",
]

_CHANGES = ("seq", "ts_event", "ts_recv", "conn", "side", "price", "size", "check")


RecordedQuality: TypeAlias = Literal["verified", "unverifiable", "stale"]


class RecordedBook(msgspec.Struct, frozen=True, kw_only=True):
    """The book of a token after everything that was received up to a time.

    ``quality`` is ``verified`` when the book had the venue's hash at the last check, ``unverifiable`` when that could
    not be checked, and ``stale`` when the book could not be trusted: then reading it raises, and ``last_known`` is the
    last trusted one before. ``proved`` is when the book was last known to be the venue's. ``ts_event`` and ``ts_recv``
    are those of the last change. An empty side has no price.
    """

    token_id: str
    market: str
    label: str
    at: datetime
    quality: RecordedQuality
    why: str
    proved: datetime | None = None
    ts_event: datetime | None = None
    ts_recv: datetime | None = None
    levels: Levels | None = None
    last_known: "RecordedBook | None" = None

    @property
    def bids(self) -> list[tuple[float, float]]:
        """The bids, best first.

        Raises:
            BookError: the book is stale; the other properties raise it, too.
        """
        return self._trusted().bids

    @property
    def asks(self) -> list[tuple[float, float]]:
        """The asks, best first."""
        return self._trusted().asks

    @property
    def best_bid(self) -> float | None:
        """The highest bid, or None."""
        return self._trusted().best_bid

    @property
    def best_ask(self) -> float | None:
        """The lowest ask, or None."""
        return self._trusted().best_ask

    @property
    def mid(self) -> float | None:
        """The middle of the best prices, or None where a side is empty."""
        return self._trusted().mid

    @property
    def spread(self) -> float | None:
        """Best ask less best bid, or None where a side is empty."""
        return self._trusted().spread

    def frame(self) -> pl.DataFrame:
        """Return the levels as rows of side, price and size, best first."""
        return self._trusted().frame()

    def to_dict(self) -> dict[str, object]:
        """Return everything as values that JSON can hold; the sides of a stale book are null."""
        levels = self.levels
        return {
            "token_id": self.token_id,
            "market": self.market,
            "label": self.label,
            "at": self.at.isoformat(),
            "quality": self.quality,
            "why": self.why,
            "proved": _iso(self.proved),
            "ts_event": _iso(self.ts_event),
            "ts_recv": _iso(self.ts_recv),
            "best_bid": None if levels is None else levels.best_bid,
            "best_ask": None if levels is None else levels.best_ask,
            "mid": None if levels is None else levels.mid,
            "spread": None if levels is None else levels.spread,
            "bids": None if levels is None else [list(level) for level in levels.bids],
            "asks": None if levels is None else [list(level) for level in levels.asks],
            "last_known": None if self.last_known is None else self.last_known.to_dict(),
        }

    def __repr__(self) -> str:
        """Return the best prices, or why there are none, in one line."""
        top = f"stale, {self.why}" if self.levels is None else self.levels.top
        quality = "" if self.levels is None else f", {self.quality}"
        return f"<Book of {self.label} at {self.at.isoformat()}: {top}{quality}>"

    def __str__(self) -> str:
        """Return the best levels as a ladder, with how far they can be trusted; of a stale book the last known."""
        lines = [self.label, f"{self.quality} at {utc(self.at)} UTC: {self.why}"]
        if self.levels is not None:
            lines += ["", *ladder_lines(self.levels)]
        elif self.last_known is not None and self.last_known.levels is not None:
            last = self.last_known
            lines += [
                "",
                f"the last that could be trusted, at {utc(last.at)} UTC:",
                *ladder_lines(self.last_known.levels),
            ]
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Pretty, cycle: object) -> None:
        del cycle
        pretty(self, printer)

    def _repr_html_(self) -> str:
        caption, why = f"{self.label} at {self.at.isoformat()} ({self.quality})", f"<p>{escape(self.why)}</p>"
        return (f"<p><b>{escape(caption)}</b></p>" if self.levels is None else self.levels.html(caption)) + why

    def _trusted(self) -> Levels:
        if self.levels is None:
            raise BookError(f"the book of {self.label} at {self.at.isoformat()} cannot be trusted: {self.why}")
        return self.levels


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


class TrustedBook(msgspec.Struct, frozen=True, kw_only=True):
    """A book that can be trusted, with its quality and the times of its last change, in nanoseconds since 1970."""

    levels: Levels
    market: str
    quality: RecordedQuality
    why: str
    proved: int | None
    ts_event: int | None
    ts_recv: int


class BookRow(msgspec.Struct, frozen=True):
    """A complete book, as a row of ``keyframes`` or ``book_snapshots`` has it."""

    market: str
    ts_event: int | None
    bid_prices: list[float]
    bid_sizes: list[float]
    ask_prices: list[float]
    ask_sizes: list[float]


def read_changes(contents: Contents, token_id: str, since: int | None, until: int) -> pl.DataFrame:
    """Read the level changes of a token that were received between two times, both included."""
    rows = contents.scan("book_deltas", since=since, until=until).filter(pl.col("token_id") == token_id)
    return collect(contents, "book_deltas", rows.select(_CHANGES)).sort("seq")


def read_book_row(contents: Contents, event: TrustEvent) -> BookRow:
    """Read the complete book that an event begins with."""
    table = "book_snapshots" if event.kind == "book" else "keyframes"
    rows = contents.scan(table, since=event.recv, until=event.recv).filter(pl.col("seq") == event.seq)
    ladders = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    found = collect(contents, table, rows.select("market", pl.col("ts_event").dt.epoch("ns"), *ladders))
    return msgspec.convert(found.row(0, named=True), type=BookRow)


def applied_changes(changes: pl.DataFrame, event: TrustEvent) -> pl.DataFrame:
    """Return the changes that were applied to the book of an event, in order."""
    return changes.filter(pl.col("seq") > event.seq, pl.col("check").cast(pl.String) != "skipped")


def book_from_rows(contents: Contents, timeline: TrustTimeline, since: int | None, time: int) -> TrustedBook | str:
    """Rebuild the book of a token at a time from the keyframes before it, or return why there is no book."""
    event, gap = timeline.last(time), timeline.gap(time)
    if gap is not None or event is None or not event.begins or time >= timeline.end:
        return stale_reason(timeline, time)
    changes = read_changes(contents, timeline.token_id, since, time)
    base = read_book_row(contents, event)
    applied = applied_changes(changes, event)
    hashes = hash_history(contents, timeline, changes, since=since, until=time)
    quality, why, proved = quality_of(timeline, hashes, time)
    newest: int | None = applied.select(pl.col("ts_event").max().dt.epoch("ns")).item()
    last: int | None = applied.select(pl.col("ts_recv").max().dt.epoch("ns")).item()
    return TrustedBook(
        levels=_levels(base, applied),
        market=base.market,
        quality=quality,
        why=why,
        proved=proved,
        ts_event=max((one for one in (base.ts_event, newest) if one is not None), default=None),
        ts_recv=max(event.recv, last or 0),
    )


def stale_reason(timeline: TrustTimeline | None, time: int) -> str:
    """Return why no book can be trusted at a time."""
    if timeline is None:
        return f"no book of this token was recorded around {utc(time)}"
    gap, event = timeline.gap(time), timeline.last(time)
    if gap is not None:
        return f"not to be trusted {gap}"
    if time >= timeline.end:
        return f"the recording ends at {utc(timeline.end - 1)}"
    return absence_reason(event)


def absence_reason(event: TrustEvent | None) -> str:
    """Return why there is no book after an event that does not begin one."""
    if event is None or event.kind == "restart":
        return "its first book had not come yet"
    if event.kind == "untrusted":
        return f"its book was not there, or not to be trusted, at {utc(event.recv)}, and no other came since"
    return f"it was not followed any more from {utc(event.recv)} on"


def quality_of(timeline: TrustTimeline, hashes: HashHistory, time: int) -> tuple[RecordedQuality, str, int | None]:
    """Return the quality of a book, the reason, and when it was proved last: by a hash, or by a complete book."""
    hashed = hashes.last_fit(time)
    book = next(
        (event.recv for event in reversed(timeline.events) if event.kind == "book" and event.recv <= time), None
    )
    proved = max((one for one in (hashed, book) if one is not None), default=None)
    whole = "" if book is None else f"; the venue sent the book whole at {utc(book)}"
    if hashed is None:
        return "unverifiable", f"no hash of the venue is known to fit{whole}", proved
    if not hashes.fitted_at([time])[0]:
        return "unverifiable", f"no hash of the venue is known to fit after {utc(hashed)}{whole}", proved
    if book is not None and book > hashed:
        return "verified", f"the venue sent the book whole at {utc(book)}, and its hashes fitted until then", proved
    return "verified", f"the venue's hash fitted at {utc(hashed)}", proved


def _levels(base: BookRow, applied: pl.DataFrame) -> Levels:
    sides = {
        "bid": dict(zip(base.bid_prices, base.bid_sizes, strict=True)),
        "ask": dict(zip(base.ask_prices, base.ask_sizes, strict=True)),
    }
    newest = applied.select("side", "price", "size").unique(["side", "price"], keep="last")
    for side, price, size in newest.iter_rows():
        sides[side][price] = size
    return Levels(
        bids=_best_first(sides["bid"].items(), sign=-1),
        asks=_best_first(sides["ask"].items(), sign=1),
    )


def _best_first(levels: Iterable[tuple[float, float]], *, sign: int) -> list[tuple[float, float]]:
    return sorted((level for level in levels if level[1]), key=lambda level: sign * level[0])


def recorded_book(found: TrustedBook | str, about: RecordedBook, last: RecordedBook | None) -> RecordedBook:
    """Fill in a rebuilt book, or why there is none and the last book that could be trusted."""
    if isinstance(found, str):
        return msgspec.structs.replace(about, quality="stale", why=found, last_known=last)
    return msgspec.structs.replace(
        about,
        market=found.market or about.market,
        quality=found.quality,
        why=found.why,
        proved=None if found.proved is None else moment(found.proved),
        ts_event=None if found.ts_event is None else moment(found.ts_event),
        ts_recv=moment(found.ts_recv),
        levels=found.levels,
    )
