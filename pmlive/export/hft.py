"""A recording as arrays for hftbacktest 2: one ``.npz`` per token, with its events under the key ``data``."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from pmlive.errors import StoreError
from pmlive.export.aside import new_folder
from pmlive.export.report import (
    Exported,
    ExportedFile,
    ExportedToken,
    SkippedToken,
    missing_files,
    unsealed_bytes,
)
from pmlive.export.walk import Break, End, TokenRows, events_of
from pmlive.gaps import GapIndex
from pmlive.recording.index import IndexCache
from pmlive.recording.trust import let_go
from pmlive.records import FRAMES, Kind
from pmlive.store import records, scan

__all__ = ["to_hftbacktest"]

_BOOKS = ("book_snapshots", "keyframes")
_TABLES = (*_BOOKS, "book_deltas", "trades")
# A token id names a file, and a recording may come from somebody else.
_is_plain = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII).fullmatch


class _Ends(msgspec.Struct):
    """When runs began, when connections were given up, and when tokens were: where a book ends without a gap."""

    begun: list[End]
    closed: list[End]
    dropped: dict[str, list[End]]

    def of(self, token_id: str) -> list[End]:
        return [*self.begun, *self.closed, *self.dropped.get(token_id, [])]


def to_hftbacktest(folder: str | Path, out: str | Path, *, token_id: str | None = None) -> Exported:
    """Write the books and trades of every token, or of one, as ``TOKEN.npz`` into a new folder.

    Receive times of all tokens are moved by one and the same ``shift``, so that none is before the venue's time: the
    correction that hftbacktest's converters make, kept equal for tokens that are traded together.

    Raises:
        StoreError: the folder is no recording, has no such token or no book, or ``out`` has something in it.
    """
    source, target = Path(folder), Path(out)
    missing = missing_files(source)
    with new_folder(target) as aside:
        shift = _shift(source)
        made = _all(source, _tokens(source, token_id), aside=aside, shift=shift)
        written = [one for one in made if isinstance(one, ExportedToken)]
        skipped = [one for one in made if isinstance(one, SkippedToken)]
        sizes = [(aside / one.path).stat().st_size for one in written]
        if not written:
            raise StoreError(_no_book(source, skipped))
    tokens = [msgspec.structs.replace(one, path=str(target / one.path)) for one in written]
    return Exported(
        out=str(target),
        format="hftbacktest",
        files=[
            ExportedFile(path=one.path, rows=one.events, bytes=size) for one, size in zip(tokens, sizes, strict=True)
        ],
        tokens=tokens,
        skipped=skipped,
        shift=shift,
        unsealed=unsealed_bytes(source),
        missing=missing,
    )


def _all(source: Path, tokens: Iterable[str], *, aside: Path, shift: int) -> list[ExportedToken | SkippedToken]:
    ends, gaps = _ends(source), IndexCache(source).now().gaps
    return [_write(source, token, ends, gaps, aside=aside, shift=shift) for token in tokens]


def _tokens(source: Path, wanted: str | None) -> list[str]:
    names = [scan(source, table).select(pl.col("token_id").unique()) for table in _TABLES]
    tokens = pl.concat(names).select(pl.col("token_id").unique().sort()).collect()["token_id"].to_list()
    if wanted is None:
        return tokens
    if wanted not in tokens:
        raise StoreError(f"no token {wanted!r} in {str(source)!r}; pmlive info lists its markets")
    return [wanted]


def _no_book(source: Path, skipped: Sequence[SkippedToken]) -> str:
    why = f": {skipped[0].token_id[:80]!r}: {skipped[0].reason}" if skipped else ""
    return f"{str(source)!r} has no book to export{why}"


def _ends(source: Path) -> _Ends:
    kept = [record for record in records(source) if record.kind not in FRAMES]
    found = _Ends([End(record.recv, record.seq, 0) for record in kept if record.kind == Kind.BEGIN], [], {})
    for gone in let_go(kept):
        if gone.tokens is None:
            found.closed.append(End(gone.recv, gone.seq, gone.conn))
        for token in gone.tokens or ():
            found.dropped.setdefault(token, []).append(End(gone.recv, gone.seq, 0))
    return found


def _shift(source: Path) -> int:
    latency = (pl.col("ts_recv") - pl.col("ts_event")).dt.total_nanoseconds().min()
    least = [scan(source, table).select(latency).collect().item() for table in _TABLES if table != "keyframes"]
    return max([0, *(-each for each in least if each is not None)])


def _write(
    source: Path, token: str, ends: _Ends, gaps: GapIndex, *, aside: Path, shift: int
) -> ExportedToken | SkippedToken:
    if _is_plain(token) is None:
        return SkippedToken(token, "its id is none of the venue's and cannot name a file")
    its = {table: _of(source, table, token) for table in _TABLES}
    books = its["keyframes"].filter(pl.col("state").is_in(["verified", "unverifiable"]))
    if its["book_snapshots"].is_empty() and books.is_empty():
        return SkippedToken(token, "no book of it was recorded")
    rows = TokenRows(
        deltas=its["book_deltas"],
        snapshots=its["book_snapshots"],
        keyframes=books,
        trades=its["trades"],
        breaks=list(_breaks(gaps, token, books)),
        ends=ends.of(token),
    )
    made = events_of(rows, shift=shift)
    name = f"{token}.npz"
    np.savez_compressed(aside / name, data=made.events)
    return ExportedToken(
        token_id=token,
        path=name,
        events=len(made.events),
        breaks=made.breaks,
        split=made.split,
        tick_size=_tick_size(source, token, its["book_snapshots"]),
        first_time=int(made.events["local_ts"].min()),
        last_time=int(made.events["local_ts"].max()),
    )


def _of(source: Path, table: str, token: str) -> pl.DataFrame:
    return scan(source, table).filter(pl.col("token_id") == token).collect().sort("seq")


def _breaks(gaps: GapIndex, token: str, books: pl.DataFrame) -> Iterable[Break]:
    """List when a token's book could not be trusted; what befell its connection is a gap of the token, too."""
    known = books.filter(~pl.col("alone")).select("seq", pl.col("ts_recv").dt.epoch("ns")).rows()
    return (Break(gap.started, gap.until) for gap in gaps.of(token, conns=(), known=known))


def _tick_size(source: Path, token: str, snapshots: pl.DataFrame) -> float | None:
    changed = _of(source, "market_events", token)["new_tick_size"]
    finest = pl.concat([snapshots["tick_size"], changed]).min()
    return finest if isinstance(finest, float) else None
