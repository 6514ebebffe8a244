"""What was sealed and is not listed any more, as an older or a damaged manifest leaves it.

Two witnesses tell. ``Manifest.segments`` says of each segment which tables it had, and how many rows; recordings that
were begun by an earlier version do not have it, or not from their beginning. And segments are numbered: the names of
raw files have their numbers, and records are numbered on from one segment to the next. Where both numbers are left
out, and no gap that was recorded accounts for it (a run that was killed leaves some out), a segment is gone.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

import msgspec

from pmlive.errors import StoreError
from pmlive.store.manifest import RAW, Manifest, SealedFile, SealedSegment, segment_number
from pmlive.times import utc

__all__ = ["Interval", "MissingPart", "contradictions", "missing_parts", "without_rows"]

# Both in nanoseconds since 1970.
Interval: TypeAlias = tuple[int, int]


class MissingPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part that the manifest does not list: nobody knows what the books were meanwhile.

    ``frames`` tells that raw records are missing, too; ``seq`` is a number that the part had. Times are nanoseconds
    since 1970, ``ended`` excluded.
    """

    seq: int
    started: int
    ended: int
    detail: str
    frames: bool


def without_rows(segments: Sequence[SealedSegment], lost: SealedFile) -> list[SealedSegment]:
    """Return segments without the rows of a file that is lost, so that they are not missed."""
    known = _known(segments)
    for position in _within(lost, known)[-1] if known else ():
        one = known[position]
        rows = {table: rows for table, rows in one.rows.items() if table != lost.table}
        known[position] = msgspec.structs.replace(one, rows=rows)
    return known


def contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what the lists of a manifest deny of each other."""
    yield from _ends(manifest)
    yield from _segments_beside_files(manifest)
    listed = {file.path for file in manifest.files}
    for old in manifest.replaced:
        if old.path in listed:
            yield f"it lists {old.path} and calls it replaced"
    for file in manifest.of(RAW):
        if manifest.raw_from is not None and file.last_time < manifest.raw_from:
            yield f"it calls frames before {utc(manifest.raw_from)} given up, and lists {file.path}"


def _ends(manifest: Manifest) -> Iterator[str]:
    """Yield what a manifest says of its beginning and its end that its files deny."""
    frames, known = manifest.of(RAW), _known(manifest.segments)
    last = max([segment_number(file.path) or 0 for file in frames] + [one.number for one in known], default=0)
    if last > manifest.sealed:
        yield f"it calls segment {manifest.sealed} the last that is sealed, and lists segment {last}"
    last_seq = max([file.last_seq for file in manifest.files] + [one.last_seq for one in known], default=-1)
    if last_seq >= manifest.next_seq:
        yield f"it calls {manifest.next_seq} the next number, and lists rows up to {last_seq}"
    last_recv = manifest.last_recv
    if frames and (last_recv is None or not frames[-1].first_time <= last_recv <= frames[-1].last_time):
        when = "never" if last_recv is None else utc(last_recv)
        yield f"it says that the last record came {when}, which is not in the last file of records that it lists"
    try:
        _ = manifest.began
    except StoreError as error:
        yield str(error)


def _segments_beside_files(manifest: Manifest) -> Iterator[str]:
    """Yield where segments overlap, and where files have more rows than their segments had."""
    known = _known(manifest.segments)
    for before, after in pairwise(known):
        # The last record of a segment may have the number of the first row of the next.
        if before.last_seq > after.first_seq or before.number == after.number:
            yield f"it has segment {before.number} beside segment {after.number}, which has numbers of it"
    tables = {table for segment in known for table in segment.rows} - {RAW}
    for file in (file for table in sorted(tables) for file in manifest.of(table)):
        counts = [_rows_within(file, within, known) for within in _within(file, known)]
        if known[0].first_seq <= file.first_seq and all(rows is not None and rows < file.rows for rows in counts):
            yield f"{file.path} has {file.rows:,} rows, and its segments had {max(rows or 0 for rows in counts):,}"


def _rows_within(file: SealedFile, within: range, known: Sequence[SealedSegment]) -> int | None:
    """Count the rows that segments had of a table, None where a repair gave some up."""
    rows = [known[position].rows.get(file.table) for position in within]
    return None if None in rows else sum(each or 0 for each in rows)


class _Part(NamedTuple):
    """A segment of which something is known."""

    number: int | None
    run: str | None
    first_seq: int
    first_time: int
    last_time: int


def missing_parts(manifest: Manifest, accounted: Callable[[], Iterable[Interval]]) -> list[MissingPart]:
    """List what the manifest does not list though it was sealed, in order of arrival.

    ``accounted`` is asked for the recorded gaps of everything, only where numbers are left out.
    """
    known = _known(manifest.segments)
    skipped = list(_skipped(manifest, known))
    if skipped:
        gaps = sorted([*accounted(), *((hole.started, hole.ended or hole.started) for hole in manifest.holes)])
        skipped = [part for part in skipped if not _covered(part, gaps)]
    return sorted([*_unlisted(manifest, known), *skipped], key=lambda part: (part.seq, part.started))


def _known(segments: Iterable[SealedSegment]) -> list[SealedSegment]:
    once = {(segment.last_seq, segment.first_seq): segment for segment in segments}
    return [once[key] for key in sorted(once)]


def _unlisted(manifest: Manifest, known: Sequence[SealedSegment]) -> Iterator[MissingPart]:
    """Yield the segments of which rows are in no listed file."""
    tables = sorted({table for segment in known for table in segment.rows})
    there = {table: _whole(table, manifest, known) for table in tables}
    for position, segment in enumerate(known):
        gone = [table for table in segment.rows if position not in there[table]]
        if RAW in gone and manifest.raw_from is not None and segment.last_time < manifest.raw_from:
            gone.remove(RAW)
        if gone:
            before = known[position - 1].last_time if position else segment.first_time
            counts = ", ".join(f"{segment.rows[table]:,} of {table}" for table in gone)
            yield MissingPart(
                seq=segment.last_seq,
                started=min(before, segment.first_time),
                ended=segment.last_time + 1,
                detail=f"rows of segment {segment.number} are not listed: {counts}",
                frames=RAW in gone,
            )


def _whole(table: str, manifest: Manifest, known: Sequence[SealedSegment]) -> set[int]:
    """Return the positions of the segments whose rows of a table are all in listed files."""
    there: set[int] = set()
    for file in manifest.of(table):
        for within in _within(file, known):
            if file.rows >= sum(known[position].rows.get(table, 0) for position in within):
                there.update(within)
    return there


def _within(file: SealedFile, known: Sequence[SealedSegment]) -> list[range]:
    """List the positions of the segments that a file has rows of: by where they end, and by where they begin.

    The last record of a segment may have the number of the first row of the next, and what stands for lost records at
    the beginning of one the number of the last row before.
    """
    ends = [min(bisect_left(known, seq, key=_last_seq), len(known) - 1) for seq in (file.first_seq, file.last_seq)]
    begins = [max(bisect_right(known, seq, key=_first_seq) - 1, 0) for seq in (file.first_seq, file.last_seq)]
    if file.table == RAW:
        return [range(ends[1], ends[1] + 1)]
    return [range(first, last + 1) for first, last in (ends, begins)]


def _first_seq(segment: SealedSegment) -> int:
    return segment.first_seq


def _last_seq(segment: SealedSegment) -> int:
    return segment.last_seq


def _skipped(manifest: Manifest, known: Sequence[SealedSegment]) -> Iterator[MissingPart]:
    """Yield where numbers are left out between segments, before the first and after the last."""
    frames = manifest.of(RAW)
    parts = sorted(_parts(frames, known), key=lambda part: part.first_seq)
    files = sorted(manifest.files, key=lambda file: file.first_seq)
    reached = list(accumulate((file.last_seq for file in files), max))
    firsts = [file.first_seq for file in files]
    if parts and parts[0].run is not None and manifest.raw_from is None and parts[0].number not in (None, 1):
        yield _between(manifest.began, parts[0].first_time, parts[0].first_seq)
    for before, after in pairwise(parts):
        position = bisect_left(firsts, after.first_seq)
        last_seq = reached[position - 1] if position else 0
        if _breaks_off(before, after, last_seq):
            yield _between(before.last_time, after.first_time, after.first_seq)
    if manifest.last_recv is None or (not parts and manifest.raw_from is not None):
        return
    last_time = parts[-1].last_time if parts else min([manifest.began, *(file.first_time for file in files)])
    if not parts or last_time < manifest.last_recv:
        yield _between(last_time, manifest.last_recv + 1, max(reached, default=0) + 1)


def _parts(frames: Iterable[SealedFile], known: Sequence[SealedSegment]) -> Iterator[_Part]:
    for segment in known:
        yield _Part(segment.number, None, segment.first_seq, segment.first_time, segment.last_time)
    for file in frames:
        position = bisect_left(known, file.last_seq, key=_last_seq)
        if position < len(known) and known[position].first_seq <= file.last_seq:
            continue
        run = file.path.rsplit("/", 1)[-1].split("-")[1]
        yield _Part(segment_number(file.path), run, file.first_seq, file.first_time, file.last_time)


def _breaks_off(before: _Part, after: _Part, last_seq: int) -> bool:
    if before.number is not None and after.number is not None:
        if after.number == before.number + 1:
            return False
        if after.number > before.number and before.run is not None and before.run == after.run:
            return True
    return after.first_seq > last_seq + 1


def _between(started: int, ended: int, seq: int) -> MissingPart:
    return MissingPart(
        seq=max(seq - 1, 0),
        started=min(started, ended),
        ended=ended,
        detail="segments that were recorded are not listed",
        frames=True,
    )


def _covered(part: MissingPart, gaps: Iterable[Interval]) -> bool:
    reached = part.started
    for started, ended in gaps:
        if started > reached:
            break
        reached = max(reached, ended)
        if reached >= part.ended:
            return True
    return False
