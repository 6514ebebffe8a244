"""The gaps of a recording, each with the last that is known of its end."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import cast

import msgspec
import polars as pl

from pmlive.events import Cause
from pmlive.markets import clean
from pmlive.recording.contents import Contents, collect
from pmlive.tables import SCHEMAS
from pmlive.times import said

__all__ = ["ENDLESS", "Doubt", "Doubts", "known_gaps"]

# Later than any time.
ENDLESS = 2**63 - 1


class Doubt(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A gap, in nanoseconds since 1970; ``until`` is where trust can begin again at the earliest."""

    started: int
    ended: int | None
    until: int
    cause: Cause
    detail: str
    token_id: str | None
    conn: int

    def covers(self, time: int) -> bool:
        """Tell whether a time lies in it; at its end a book is right again."""
        return self.started <= time < self.until

    def concerns(self, conn: int) -> bool:
        """Tell whether it is about a token's books of a connection; one of connection 0 is about all."""
        return self.token_id is not None or self.conn in (0, conn)

    def __str__(self) -> str:
        """Say when, and why."""
        until = "without a known end" if self.ended is None else f"until {said(self.ended)}"
        because = f"{self.cause}: {self.detail}" if self.detail else self.cause
        return f"since {said(self.started)} {until} ({because})"


def known_gaps(contents: Contents) -> pl.DataFrame:
    """Read the gaps, those in the log and the holes that only the manifest has as well."""
    schema = SCHEMAS["gaps"]
    rows = collect(contents, "gaps", contents.scan("gaps"))
    holes = [
        (
            0,
            None,
            hole.ended or hole.started,
            hole.conn,
            hole.token_id,
            hole.started,
            hole.ended,
            hole.cause,
            hole.detail,
        )
        for hole in contents.manifest.holes
    ]
    # A gap that lasts is written at the end of each run, so its last row is the one with its end; holes are rows, too.
    whole = pl.concat([pl.DataFrame(holes, schema=schema, orient="row"), rows])
    key = ("started", "cause", "token_id", "conn")
    return (
        whole.sort("ended", "seq", nulls_last=False)
        .unique(key, keep="last", maintain_order=True)
        .sort("started", "seq", "token_id")
    )


class Doubts:
    """The gaps by token."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self._own: dict[str, list[Doubt]] = {}
        self.general: list[Doubt] = []
        restarts: list[int] = []
        for started, ended, cause, detail, token_id, conn in _rows(frame):
            if cause == "restart" and token_id is None and ended is not None:
                restarts.append(ended)
            known = Doubt(
                started=started,
                ended=ended,
                until=ENDLESS if ended is None else ended,
                cause=cause,
                detail=clean(detail, 500),
                token_id=token_id,
                conn=conn,
            )
            (self.general if token_id is None else self._own.setdefault(token_id, [])).append(known)
        self.restarts = sorted(restarts)
        self.general = self._bounded(self.general)

    def of(self, token_id: str) -> list[Doubt]:
        """List the gaps that may concern a token, in order of their beginning."""
        return sorted([*self._bounded(self._own.get(token_id, ())), *self.general], key=lambda one: one.started)

    def own(self, token_id: str) -> list[Doubt]:
        """List the gaps of a token alone."""
        return self._own.get(token_id, [])

    @cached_property
    def all(self) -> list[Doubt]:
        """List all gaps in order of their beginning."""
        own = [self._bounded(doubts) for doubts in self._own.values()]
        return sorted([*self.general, *(one for each in own for one in each)], key=lambda one: one.started)

    def _bounded(self, doubts: Iterable[Doubt]) -> list[Doubt]:
        """Let a gap without an end last until another run goes on; what that run knows it tells anew."""
        return [self._until_restart(doubt) if doubt.ended is None else doubt for doubt in doubts]

    def _until_restart(self, doubt: Doubt) -> Doubt:
        until = next((time for time in self.restarts if time > doubt.started), ENDLESS)
        return msgspec.structs.replace(doubt, until=until)


def _rows(frame: pl.DataFrame) -> Sequence[tuple[int, int | None, Cause, str, str | None, int]]:
    numbers = frame.select(
        pl.col("started", "ended").dt.epoch("ns"), pl.col("cause").cast(pl.String), "detail", "token_id", "conn"
    )
    filled = numbers.with_columns(pl.col("detail").fill_null(""))
    return cast("list[tuple[int, int | None, Cause, str, str | None, int]]", filled.rows())
