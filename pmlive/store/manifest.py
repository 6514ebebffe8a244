"""The manifest: the one list of what is sealed. A file counts from the moment at which the manifest names it.

Times are nanoseconds since 1970 by our clock. ``sealed`` is the last segment of the log whose files are listed, so a
leftover of it is deleted and a later one is rebuilt. ``holes`` are the intervals that could not be kept; each is noted
before anything that came after it. ``replaced`` are names that no longer count and are not removed yet; raw frames
before ``raw_from`` were given up. ``segments`` says a second time, segment by segment, what was sealed, so that a
missing entry of ``files`` is noticed. ``simulated`` says that a simulated venue was recorded, and ``simulated_tokens``
which tokens are of one where others are not.

What was sealed and is not listed any more, as an older or a damaged manifest leaves it, is found in two ways.
``segments`` has the tables of each segment, and how many rows; recordings that were begun by an earlier version do not
have it, or not from their beginning. And segments are numbered: the names of raw files have their numbers, and records
are numbered on from one segment to the next. Where both numbers are left out, and no gap that was recorded accounts for
it (a run that was killed leaves some out), a segment is missing.
"""

import importlib.metadata
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from pmlive.errors import NoRecordingError, StoreError
from pmlive.events import Gap
from pmlive.store import disk
from pmlive.times import utc

__all__ = [
    "MANIFEST",
    "MERGED",
    "RAW",
    "SCHEMA",
    "SEALED_NAME",
    "Interval",
    "Manifest",
    "ManifestFile",
    "MissingPart",
    "Replaced",
    "SealedFile",
    "SealedSegment",
    "contradictions",
    "is_sealed_path",
    "missing_parts",
    "new_manifest",
    "no_recording",
    "read_manifest",
    "segment_number",
    "without_rows",
]

MANIFEST = "manifest.json"
RAW = "raw"
# The folder in which a merged file waits, out of sight, until its inputs are removed.
MERGED = "merged"
SCHEMA = 1
# A million files take about 400 MB.
_LARGEST_BYTES = 512 << 20
# Only files of this form are ever listed, renamed or removed.
SEALED_NAME = re.compile(r"\d{1,20}-[0-9a-f]{8}-(\d{6,20}|\d{1,20}to\d{1,20})(\.parquet|\.log\.zst)", re.ASCII)
# A file that one segment of the log became is named by its number.
_SEGMENT_NUMBER = re.compile(r"-(\d{6,20})\.[a-z.]+", re.ASCII)
_SEALED_PATH = re.compile(rf"(?:{MERGED}/)?(?P<table>[a-z_]+)/date=\d{{4}}-\d\d-\d\d/{SEALED_NAME.pattern}", re.ASCII)

# Far within what clocks and tables hold (the years 1823 to 2116), so that nothing that is computed of them overflows.
_MOST = 1 << 62
_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
_Nanoseconds: TypeAlias = Annotated[int, msgspec.Meta(ge=-_MOST, le=_MOST)]
_LARGEST_CONN = (1 << 32) - 1

MarketEntry: TypeAlias = dict[str, object]
# Both in nanoseconds since 1970.
Interval: TypeAlias = tuple[int, int]


class SealedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that never changes again; ``path`` is relative to the recording, with forward slashes."""

    path: str
    table: str
    rows: _Number
    bytes: _Number
    sha256: str
    first_seq: _Number
    last_seq: _Number
    first_time: _Nanoseconds
    last_time: _Nanoseconds


class SealedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment of the log became: the numbers and times of its records, and how many rows of each table.

    ``raw`` is among the tables. ``last_seq`` is the last number that a record or a row of it has.
    """

    number: _Number
    first_seq: _Number
    last_seq: _Number
    first_time: _Nanoseconds
    last_time: _Nanoseconds
    rows: dict[str, _Number]

    @classmethod
    def of(cls, number: int, files: Sequence[SealedFile]) -> "SealedSegment":
        """Describe a segment by its files, the raw file among them."""
        frames = next(file for file in files if file.table == RAW)
        return cls(
            number=number,
            first_seq=frames.first_seq,
            last_seq=max(file.last_seq for file in files),
            first_time=frames.first_time,
            last_time=frames.last_time,
            rows={file.table: file.rows for file in files},
        )


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose rows are in the file ``by`` since a time; readers that began earlier still use it."""

    path: str
    by: str
    since: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The list of what a recording consists of."""

    schema: int = SCHEMA
    pmlive: str
    created: str
    markets: list[MarketEntry] = []
    files: list[SealedFile] = []
    sealed: _Number = 0
    next_seq: _Number = 0
    last_recv: _Nanoseconds | None = None
    holes: list[Gap] = []
    replaced: list[Replaced] = []
    raw_from: _Nanoseconds | None = None
    segments: list[SealedSegment] = []
    simulated: bool = False
    simulated_tokens: list[str] = []

    @property
    def known_until(self) -> int:
        """When the last sealed record came or, before there is one, when the recording was made.

        In nanoseconds since 1970; nothing is missing before. The files are more reliable than ``last_recv``.
        """
        if self.last_recv is not None:
            frames = self.of(RAW)
            return min(self.last_recv, frames[-1].last_time) if frames else self.last_recv
        return self.began

    @property
    def began(self) -> int:
        """When the recording was made, in nanoseconds since 1970."""
        try:
            began = int(datetime.fromisoformat(self.created).timestamp()) * 1_000_000_000
        except (ValueError, OverflowError) as error:
            raise StoreError(f"invalid time {self.created[:60]!r} in the manifest; expected ISO 8601") from error
        if abs(began) > _MOST:
            raise StoreError(f"invalid time {self.created[:60]!r} in the manifest; no recording was made then")
        return began

    @property
    def last_seq(self) -> int:
        """The number of the last sealed record, 0 where there is none."""
        return max((file.last_seq for file in self.files if file.table == RAW), default=0)

    def sealed_before(self, number: int) -> int:
        """Return the last sealed segment before one of the log: ``sealed``, unless the log goes back beyond that."""
        if number > self.sealed:
            return self.sealed
        numbers = (segment_number(file.path) or 0 for file in self.files if file.table == RAW)
        return max((each for each in numbers if each < number), default=0)

    def of(self, table: str) -> list[SealedFile]:
        """List the files of one table (``raw``: of the frames), in order of arrival."""
        return sorted((file for file in self.files if file.table == table), key=lambda file: file.first_seq)

    def unknown_since(self, lost: SealedFile) -> int:
        """Return since when, in nanoseconds since 1970, the books are unknown because a file is lost.

        A gap is written when it is found, and begins earlier: at the earliest where the segment before ended.
        """
        before = [file.last_time for file in self.files if file.last_seq < lost.first_seq]
        return min(lost.first_time, max(before, default=lost.first_time))

    def without(self, given_up: Iterable[SealedFile]) -> "Manifest":
        """Return the manifest without these files."""
        paths = {file.path for file in given_up}
        return msgspec.structs.replace(self, files=[file for file in self.files if file.path not in paths])

    def with_markets(self, markets: Sequence[MarketEntry]) -> "Manifest":
        """Return the manifest with these markets, which replace what was known of the same ones."""
        known = {str(market.get("condition_id") or market): market for market in (*self.markets, *markets)}
        return msgspec.structs.replace(self, markets=list(known.values()))


class ManifestFile:
    """The manifest of a recording that is being written; any thread may change it."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._lock = Lock()
        self.current = manifest

    def change(self, edit: Callable[[Manifest], Manifest]) -> None:
        """Write the edited manifest, which counts once this returns.

        Raises:
            OSError: it could not be written, and the old manifest still counts.
        """
        with self._lock:
            manifest = msgspec.structs.replace(edit(self.current), pmlive=_version())
            path = self._folder / MANIFEST
            data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
            disk.replace(disk.write_temporary(path, self._folder, data), path, self._folder)
            self.current = manifest
            disk.sync_folder(self._folder, self._folder)

    def write(self) -> None:
        """Write the manifest again as it is.

        Raises:
            OSError: it could not be written.
        """
        self.change(lambda manifest: manifest)

    def add_hole(self, hole: Gap) -> None:
        """Add an interval that was not kept, if it is not listed yet.

        Raises:
            OSError: it could not be written.
        """
        if hole not in self.current.holes:
            self.change(lambda manifest: msgspec.structs.replace(manifest, holes=[*manifest.holes, hole]))


def new_manifest(now: int) -> Manifest:
    """Return the manifest of a recording that begins now."""
    created = datetime.fromtimestamp(now / 1e9, UTC).isoformat(timespec="seconds")
    return Manifest(pmlive=_version(), created=created)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a recording.

    Raises:
        StoreError: there is none, it is damaged, or a newer pmlive wrote it.
    """
    path = folder / MANIFEST
    try:
        data = disk.read(path, folder, most=_LARGEST_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_recording(folder) from error
    except OSError as error:
        raise StoreError(f"{str(path)!r} cannot be read: {error.strerror}; check its permissions") from error
    return _decode(path, data)


def no_recording(folder: Path) -> StoreError:
    """Return the error of a folder without a manifest."""
    if not folder.exists():
        return NoRecordingError(f"{str(folder)!r} is not a recording: there is no such folder")
    return StoreError(f"{str(folder)!r} is not a recording: it has no {MANIFEST}")


def is_sealed_path(path: str) -> bool:
    """Return whether a path is one that sealing, merging or repairing writes."""
    return _SEALED_PATH.fullmatch(path) is not None


def segment_number(path: str) -> int | None:
    """Return the number of the segment that a sealed file was made of, None for one that was merged.

    The number of a repaired file is not that of a segment.
    """
    found = _SEGMENT_NUMBER.search(path)
    return None if found is None else int(found[1])


class MissingPart(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed part that the manifest does not list, so that the books are unknown meanwhile.

    ``frames`` says whether raw records are missing, too; ``seq`` is a number that the part had. Times are nanoseconds
    since 1970, ``ended`` excluded.
    """

    seq: int
    started: int
    ended: int
    detail: str
    frames: bool


def contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield where the lists of a manifest contradict each other."""
    yield from _ends(manifest)
    yield from _segments_beside_files(manifest)
    listed = {file.path for file in manifest.files}
    for old in manifest.replaced:
        if old.path in listed:
            yield f"it lists {old.path} and calls it replaced"
    for file in manifest.of(RAW):
        if manifest.raw_from is not None and file.last_time < manifest.raw_from:
            yield f"it calls frames before {utc(manifest.raw_from)} given up, and lists {file.path}"


def missing_parts(manifest: Manifest, accounted: Callable[[], Iterable[Interval]]) -> list[MissingPart]:
    """List the parts that were sealed and that the manifest does not list, in order of arrival.

    ``accounted`` returns the recorded gaps of everything; it is called only where numbers are left out.
    """
    known = _sorted_segments(manifest.segments)
    skipped = list(_skipped_numbers(manifest, known))
    if skipped:
        gaps = sorted([*accounted(), *((hole.started, hole.ended or hole.started) for hole in manifest.holes)])
        skipped = [part for part in skipped if not _is_covered(part, gaps)]
    return sorted([*_unlisted_rows(manifest, known), *skipped], key=lambda part: (part.seq, part.started))


def without_rows(segments: Sequence[SealedSegment], lost: SealedFile) -> list[SealedSegment]:
    """Return segments without the rows of a file that is lost, so that they are not missed."""
    known = _sorted_segments(segments)
    for position in _segment_ranges(lost, known)[-1] if known else ():
        one = known[position]
        rows = {table: rows for table, rows in one.rows.items() if table != lost.table}
        known[position] = msgspec.structs.replace(one, rows=rows)
    return known


class _Version(msgspec.Struct):
    schema: Annotated[int, msgspec.Meta(ge=1)]


def _decode(path: Path, data: bytes) -> Manifest:
    try:
        schema = msgspec.json.decode(data, type=_Version).schema
        if not 1 <= schema <= SCHEMA:
            message = f"{str(path)!r} has schema {schema}, this pmlive reads 1 to {SCHEMA}; install a newer pmlive"
            raise StoreError(message)
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        # No manifest is nested a thousand deep.
        message = f"{str(path)!r} is not the manifest of a recording ({error}); choose another folder"
        raise StoreError(message) from error
    # A file that is listed twice is one file.
    files = list({file.path: file for file in manifest.files}.values())
    if len(files) < len(set(manifest.files)):
        raise StoreError(f"{str(path)!r} lists a file twice, with other numbers; do not trust its other files")
    for file in files:
        if _table_of(path, file.path) != file.table:
            raise StoreError(f"{str(path)!r} lists {file.path!r} as {file.table!r}; do not trust its other files")
    for old in manifest.replaced:
        _check_inside(path, old.path)
    for hole in manifest.holes:
        times = (hole.started, hole.started if hole.ended is None else hole.ended)
        if not (all(abs(time) <= _MOST for time in times) and 0 <= hole.conn <= _LARGEST_CONN):
            raise StoreError(f"{str(path)!r} lists a hole that no recorder writes: {hole!r:.200}")
    return msgspec.structs.replace(manifest, files=files)


def _version() -> str:
    try:
        return importlib.metadata.version("pmlive")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _table_of(path: Path, name: str) -> str:
    _check_inside(path, name)
    found = _SEALED_PATH.fullmatch(name)
    if found is None:
        raise StoreError(f"{str(path)!r} names {name!r}, which no recorder writes; do not trust its other files")
    return found["table"]


def _check_inside(path: Path, name: str) -> None:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or ":" in name or "\0" in name:
        raise StoreError(f"{str(path)!r} names {name!r}, which is outside the recording; do not trust its other files")


def _ends(manifest: Manifest) -> Iterator[str]:
    """Yield statements of a manifest about its beginning and its end that its files contradict."""
    frames, known = manifest.of(RAW), _sorted_segments(manifest.segments)
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
    known = _sorted_segments(manifest.segments)
    for before, after in pairwise(known):
        # The last record of a segment may have the number of the first row of the next.
        if before.last_seq > after.first_seq or before.number == after.number:
            yield f"it has segment {before.number} beside segment {after.number}, which has numbers of it"
    tables = {table for segment in known for table in segment.rows} - {RAW}
    for file in (file for table in sorted(tables) for file in manifest.of(table)):
        counts = [_rows_within(file, within, known) for within in _segment_ranges(file, known)]
        if known[0].first_seq <= file.first_seq and all(rows is not None and rows < file.rows for rows in counts):
            yield f"{file.path} has {file.rows:,} rows, and its segments had {max(rows or 0 for rows in counts):,}"


def _rows_within(file: SealedFile, within: range, known: Sequence[SealedSegment]) -> int | None:
    """Count the rows that segments had of a table, None where a repair gave some up."""
    rows = [known[position].rows.get(file.table) for position in within]
    return None if None in rows else sum(each or 0 for each in rows)


class _KnownPart(NamedTuple):
    """A segment that is known by its entry or by its raw file."""

    number: int | None
    run: str | None
    first_seq: int
    first_time: int
    last_time: int


def _unlisted_rows(manifest: Manifest, known: Sequence[SealedSegment]) -> Iterator[MissingPart]:
    """Yield the segments with rows that are not in any listed file."""
    tables = sorted({table for segment in known for table in segment.rows})
    there = {table: _complete(table, manifest, known) for table in tables}
    for position, segment in enumerate(known):
        unlisted = [table for table in segment.rows if position not in there[table]]
        if RAW in unlisted and manifest.raw_from is not None and segment.last_time < manifest.raw_from:
            unlisted.remove(RAW)
        if unlisted:
            before = known[position - 1].last_time if position else segment.first_time
            counts = ", ".join(f"{segment.rows[table]:,} of {table}" for table in unlisted)
            yield MissingPart(
                seq=segment.last_seq,
                started=min(before, segment.first_time),
                ended=segment.last_time + 1,
                detail=f"rows of segment {segment.number} are not listed: {counts}",
                frames=RAW in unlisted,
            )


def _complete(table: str, manifest: Manifest, known: Sequence[SealedSegment]) -> set[int]:
    """Return the positions of the segments whose rows of a table are all in listed files."""
    there: set[int] = set()
    for file in manifest.of(table):
        for within in _segment_ranges(file, known):
            if file.rows >= sum(known[position].rows.get(table, 0) for position in within):
                there.update(within)
    return there


def _segment_ranges(file: SealedFile, known: Sequence[SealedSegment]) -> list[range]:
    """List the positions of the segments that a file has rows of: by where they end, and by where they begin.

    The last record of a segment may have the number of the first row of the next, and the record of a loss at the
    beginning of one may have the number of the last row before.
    """
    ends = [min(bisect_left(known, seq, key=_last_seq), len(known) - 1) for seq in (file.first_seq, file.last_seq)]
    begins = [max(bisect_right(known, seq, key=_first_seq) - 1, 0) for seq in (file.first_seq, file.last_seq)]
    if file.table == RAW:
        return [range(ends[1], ends[1] + 1)]
    return [range(first, last + 1) for first, last in (ends, begins)]


def _sorted_segments(segments: Iterable[SealedSegment]) -> list[SealedSegment]:
    once = {(segment.last_seq, segment.first_seq): segment for segment in segments}
    return [once[key] for key in sorted(once)]


def _skipped_numbers(manifest: Manifest, known: Sequence[SealedSegment]) -> Iterator[MissingPart]:
    """Yield where numbers are left out between segments, before the first and after the last."""
    frames = manifest.of(RAW)
    parts = sorted(_parts(frames, known), key=lambda part: part.first_seq)
    files = sorted(manifest.files, key=lambda file: file.first_seq)
    reached = list(accumulate((file.last_seq for file in files), max))
    firsts = [file.first_seq for file in files]
    if parts and parts[0].run is not None and manifest.raw_from is None and parts[0].number not in (None, 1):
        yield _missing_between(manifest.began, parts[0].first_time, parts[0].first_seq)
    for before, after in pairwise(parts):
        position = bisect_left(firsts, after.first_seq)
        last_seq = reached[position - 1] if position else 0
        if _is_break(before, after, last_seq):
            yield _missing_between(before.last_time, after.first_time, after.first_seq)
    if manifest.last_recv is None or (not parts and manifest.raw_from is not None):
        return
    last_time = parts[-1].last_time if parts else min([manifest.began, *(file.first_time for file in files)])
    if not parts or last_time < manifest.last_recv:
        yield _missing_between(last_time, manifest.last_recv + 1, max(reached, default=0) + 1)


def _parts(frames: Iterable[SealedFile], known: Sequence[SealedSegment]) -> Iterator[_KnownPart]:
    for segment in known:
        yield _KnownPart(segment.number, None, segment.first_seq, segment.first_time, segment.last_time)
    for file in frames:
        position = bisect_left(known, file.last_seq, key=_last_seq)
        if position < len(known) and known[position].first_seq <= file.last_seq:
            continue
        run = file.path.rsplit("/", 1)[-1].split("-")[1]
        yield _KnownPart(segment_number(file.path), run, file.first_seq, file.first_time, file.last_time)


def _is_break(before: _KnownPart, after: _KnownPart, last_seq: int) -> bool:
    if before.number is not None and after.number is not None:
        if after.number == before.number + 1:
            return False
        if after.number > before.number and before.run is not None and before.run == after.run:
            return True
    return after.first_seq > last_seq + 1


def _missing_between(started: int, ended: int, seq: int) -> MissingPart:
    return MissingPart(
        seq=max(seq - 1, 0),
        started=min(started, ended),
        ended=ended,
        detail="segments that were recorded are not listed",
        frames=True,
    )


def _is_covered(part: MissingPart, gaps: Iterable[Interval]) -> bool:
    reached = part.started
    for started, ended in gaps:
        if started > reached:
            break
        reached = max(reached, ended)
        if reached >= part.ended:
            return True
    return False


def _first_seq(segment: SealedSegment) -> int:
    return segment.first_seq


def _last_seq(segment: SealedSegment) -> int:
    return segment.last_seq
