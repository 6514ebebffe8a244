"""Gaps by token and time, with the one rule that decides which gaps concern a token.

A gap with a token concerns that token. One without a token concerns everything if it is the recorder's own (connection
0), and otherwise the tokens that its connection carried. A long gap is written several times, without an end until it
has one, so rows without an end and the next one with an end are one gap. Another gap may begin at the same time, if
nothing was proved in between. The gap before a run that continues a recording ends when that run begins; a token that
the run before followed has a gap of its own, which lasts until its whole book has come again.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

import msgspec
import polars as pl

from pmlive.events import Cause
from pmlive.times import utc

__all__ = ["ENDLESS", "GapIndex", "GapInterval", "concerning"]

# Later than any time.
ENDLESS = 2**63 - 1

_EVERYTHING = 0
_KEY = ("started", "cause", "token_id", "conn")


def concerning(gaps: pl.DataFrame, token_id: str, conns: Collection[int] | None) -> pl.Series:
    """Return for each row of ``gaps`` whether it concerns a token.

    Args:
        gaps: rows of the table ``gaps``.
        token_id: the token.
        conns: the connections that carried it; None if that is not known: then any of them may have.
    """
    own, general = gaps["token_id"] == token_id, gaps["token_id"].is_null()
    if conns is not None:
        general &= gaps["conn"].is_in([_EVERYTHING, *conns])
    return own.fill_null(value=False) | general


class GapInterval(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A gap, in nanoseconds since 1970; ``until`` is the earliest time at which a book can be trusted again.

    ``seq`` is the number of the last row that was written of it.
    """

    seq: int
    started: int
    ended: int | None
    until: int
    cause: Cause
    detail: str
    token_id: str | None
    conn: int

    def covers(self, time: int) -> bool:
        """Check whether a time lies in it; the end does not."""
        return self.started <= time < self.until

    def concerns(self, token_id: str, conn: int) -> bool:
        """Check whether it concerns a token that a connection carries."""
        return self.token_id == token_id or (self.token_id is None and self.conn in (_EVERYTHING, conn))

    def __str__(self) -> str:
        """Write when it was, and its cause."""
        until = "without a known end" if self.ended is None else f"until {utc(self.ended)}"
        because = f"{self.cause}: {self.detail}" if self.detail else self.cause
        return f"since {utc(self.started)} {until} ({because})"


class GapIndex:
    """Gaps by token.

    Args:
        gaps: rows of the table ``gaps``; the columns ``seq`` and ``detail`` may be missing.
    """

    def __init__(self, gaps: pl.DataFrame) -> None:
        self.frame = _once_each(gaps).sort([name for name in ("started", "seq", "token_id") if name in gaps.columns])
        found = list(_intervals(self.frame))
        # When later runs began, which write every gap again that is still open.
        self.restarts = sorted(
            gap.until for gap in found if gap.cause == "restart" and gap.token_id is None and gap.ended is not None
        )
        self._own: dict[str, list[GapInterval]] = {}
        self._general: list[GapInterval] = []
        for gap in (_bounded(gap, self.restarts) for gap in found):
            (self._general if gap.token_id is None else self._own.setdefault(gap.token_id, [])).append(gap)

    def of(
        self, token_id: str, *, conns: Collection[int] | None = None, known: Sequence[tuple[int, int]] = ()
    ) -> list[GapInterval]:
        """List the gaps that concern a token, in order of their beginning.

        Args:
            token_id: the token.
            conns: the connections that carried it; None includes the gaps of every connection.
            known: rows, by number and time, in which its book was known to be right. An open gap of the token that was
                written before such a row had ended by then.
        """
        own = [_bounded(gap, (time for seq, time in known if seq > gap.seq)) for gap in self._own.get(token_id, ())]
        general = (gap for gap in self._general if conns is None or gap.conn == _EVERYTHING or gap.conn in conns)
        return sorted([*own, *general], key=_order)

    def between(
        self, token_id: str | None, start: int, end: int, *, conns: Collection[int] | None = None
    ) -> list[GapInterval]:
        """List the gaps, of one token or all, that overlap ``[start, end)``."""
        gaps = self.all if token_id is None else self.of(token_id, conns=conns)
        return [gap for gap in gaps if gap.started < end and (gap.until > start or gap.started >= start)]

    @cached_property
    def all(self) -> list[GapInterval]:
        """All gaps, in order of their beginning."""
        return sorted([*self._general, *(gap for own in self._own.values() for gap in own)], key=_order)


def _once_each(gaps: pl.DataFrame) -> pl.DataFrame:
    """Keep one row of each gap: those with an end, and the last without one unless an end was written after it."""
    is_ordered = "seq" in gaps.columns
    rows, written = (gaps.sort("seq"), pl.col("seq")) if is_ordered else (gaps, pl.lit(0))
    last_end = written.filter(pl.col("ended").is_not_null()).max().over(_KEY)
    is_told = pl.col("ended").is_not_null() | last_end.is_null() | (written > last_end)
    return rows.filter(is_told).unique([*_KEY, "ended"], keep="last", maintain_order=True)


def _bounded(gap: GapInterval, known: Iterable[int]) -> GapInterval:
    """Bound an open gap by the first time at which it is known to be over."""
    if gap.ended is not None:
        return gap
    until = min((time for time in known if time > gap.started), default=ENDLESS)
    return msgspec.structs.replace(gap, until=min(until, gap.until))


def _order(gap: GapInterval) -> tuple[int, int, str, int, Cause]:
    return gap.started, gap.seq, gap.token_id or "", gap.conn, gap.cause


def _intervals(frame: pl.DataFrame) -> Iterable[GapInterval]:
    detail = pl.col("detail").fill_null("") if "detail" in frame.columns else pl.lit("").alias("detail")
    seq = pl.col("seq") if "seq" in frame.columns else pl.lit(0).alias("seq")
    numbers = frame.select(
        seq,
        pl.col("started", "ended").cast(pl.Datetime("ns", "UTC")).dt.epoch("ns"),
        pl.col("cause").cast(pl.String),
        detail,
        "token_id",
        "conn",
    )
    for number, started, ended, cause, text, token_id, conn in numbers.rows():
        yield GapInterval(
            seq=number,
            started=started,
            ended=ended,
            until=ENDLESS if ended is None else ended,
            cause=cause,
            detail=text,
            token_id=token_id,
            conn=conn,
        )
