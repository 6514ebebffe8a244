"""A pipeline that a test tells what happens, with an invented clock, and the records of it."""

from collections.abc import Mapping, Sequence

import polars as pl

from pmlive import _wire
from pmlive.events import Cause, Channel, Gap
from pmlive.pipeline import Pipeline, Token
from pmlive.pipeline.journal import Journal
from pmlive.records import Closed, Opened
from pmlive.store import Record
from pmlive.tables import SCHEMAS, STORED

__all__ = ["MS", "NOON", "Night", "S", "stored"]

MS = 1_000_000
S = 1_000 * MS
NOON = 1_795_262_400 * S


def stored(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Give every stored table, empty ones too, in the order of its rows."""
    return {name: frames.get(name, SCHEMAS[name].to_frame()).sort("seq") for name in STORED}


class Night:
    """Told in milliseconds after noon; what is drained is kept by table."""

    def __init__(self, *, hashes: bool = True) -> None:
        self.pipeline = Pipeline(hashes=hashes)
        self.journal = Journal(self.pipeline)
        self.records: list[Record] = []
        self.journal.keep = self.records.append
        self._frames: dict[str, list[pl.DataFrame]] = {}

    def open(
        self, at: float, conn: int, tokens: Sequence[str], *, channel: Channel = "market", old: int | None = None
    ) -> None:
        self.journal.note("open", conn, Opened(channel, "ws://venue", list(tokens), old), now(at))

    def close(self, at: float, conn: int, cause: Cause | None = "disconnect", detail: str = "cut") -> None:
        self.journal.note("close", conn, Closed(cause, detail), now(at))

    def frame(self, at: float, text: str | bytes, conn: int = 1, channel: Channel = "market") -> None:
        data = text if isinstance(text, bytes) else text.encode()
        self.journal.frame(channel, conn, data, _wire.decode(channel, data), now(at))

    def note(self, at: float, kind: str, content: object, conn: int = 1) -> None:
        self.journal.note(kind, conn, content, now(at))

    def gap(
        self, at: float, cause: Cause, token_id: str | None = None, *, since: float, ended: float | None = None
    ) -> None:
        end = None if ended is None else now(ended)
        self.journal.note("gap", 1, Gap(started=now(since), cause=cause, token_id=token_id, ended=end), now(at))

    def tick(self, at: float) -> None:
        self.pipeline.tick(now(at))

    def drain(self) -> None:
        for name, frame in self.pipeline.drain().items():
            self._frames.setdefault(name, []).append(frame)

    def end(self, at: float) -> None:
        self.journal.note("end", 0, b"", now(at))

    @property
    def wanted(self) -> dict[str, int]:
        return self.pipeline.books.gaps.wanted

    def token(self, token_id: str = "1") -> Token:  # no secret
        return self.pipeline.books.tokens[token_id]

    def frames(self) -> dict[str, pl.DataFrame]:
        """Give every table so far."""
        self.drain()
        return {name: pl.concat(frames) for name, frames in self._frames.items()}

    def table(self, name: str) -> pl.DataFrame:
        return self.frames().get(name, SCHEMAS[name].to_frame())

    def checks(self, at: float) -> list[str]:
        """Give the checks of all changes, once what is pending at a time was judged."""
        self.tick(at)
        return [str(check) for check in self.table("book_deltas")["check"]]

    def gaps(self) -> list[tuple[str | None, str, float, float | None]]:
        """List token, cause, start and end of the gaps that are written, in milliseconds after noon."""
        return [
            (token, cause, ms(started), None if ended is None else ms(ended))
            for token, cause, started, ended in self.table("gaps")
            .select("token_id", "cause", pl.col("started", "ended").cast(pl.Int64))
            .iter_rows()
        ]


def now(at: float) -> int:
    return NOON + round(at * MS)


def ms(time: int) -> float:
    return (time - NOON) / MS
