"""Reading of a recording, also while it is being written: it takes no lock, changes nothing, and reports damage."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from itertools import chain
from os import SEEK_END
from pathlib import Path
from shlex import quote
from typing import TypeAlias

import msgspec
import polars as pl

from pmlive.errors import AuthError, BookError, FeedError, ProtocolError, StoreError, UnknownMarketError
from pmlive.events import Gap
from pmlive.logs import get_logger
from pmlive.records import Kind, Loss, Parts, Record, read_note
from pmlive.store import disk, raw
from pmlive.store.log import (
    LOST,
    SegmentReading,
    check_sizes,
    has_second_name,
    loss_block,
    read_segment,
    read_segments,
    segment_files,
)
from pmlive.store.manifest import (
    MANIFEST,
    RAW,
    Interval,
    Manifest,
    MissingPart,
    SealedFile,
    missing_parts,
    no_recording,
    read_manifest,
)
from pmlive.tables import SCHEMAS, STORED

__all__ = [
    "FileProblem",
    "RecordingInfo",
    "Stamp",
    "Tail",
    "UnsealedSegment",
    "advice",
    "collect",
    "diagnosed",
    "find_missing",
    "is_missing",
    "log_files",
    "problem_of",
    "read_log",
    "read_raw",
    "read_tail",
    "recordings",
    "records",
    "scan",
    "span",
    "stamp",
    "table_paths",
    "unsealed_segments",
    "verify_files",
]

logger = get_logger(__name__)

# Differs whenever a recording has grown.
Stamp: TypeAlias = tuple[int, ...]

_CHANGED = "is damaged: its sha256 has changed"


class RecordingInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A recording in a list; times are nanoseconds since 1970, ``unsealed`` is bytes of log."""

    path: str
    created: str
    markets: int
    rows: int
    bytes: int
    unsealed: int
    first_time: int | None
    last_time: int | None

    @property
    def duration(self) -> timedelta:
        """The time between the first and the last sealed record."""
        if self.first_time is None or self.last_time is None:
            return timedelta()
        return timedelta(microseconds=(self.last_time - self.first_time) // 1_000)


class FileProblem(msgspec.Struct, frozen=True):
    """A sealed file that is damaged or missing, and how."""

    path: str
    problem: str


class UnsealedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment of the log; ``number`` and ``size`` identify what was read of it."""

    number: int
    size: int
    records: list[Record]
    torn: int = 0
    damaged: int = 0


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest, and the segments of the log that it does not count as sealed."""

    manifest: Manifest
    segments: list[UnsealedSegment]


def records(folder: Path, *, since: int | None = None) -> Iterator[Record]:
    """Yield every record in order of arrival: the sealed ones, then those in the log.

    A ``loss`` record stands in place of what is damaged. With ``since`` (nanoseconds since 1970) they begin with the
    last segment that had begun by then, whose first records are the state of the books.

    Raises:
        StoreError: the folder is not a recording.
    """
    parts = _sources(folder)
    # Where a clock was set back between two runs, several segments may have begun by then: the last one counts.
    begun = [number for number, part in enumerate(parts) if since is not None and part.first_time <= since]
    first = 0
    for number in reversed(begun):
        if (state := _state_first(parts[number].records())) is not None:
            yield from state
            first = number + 1
            break
    for part in parts[first:]:
        yield from part.records()


def _state_first(segment: Iterable[Record]) -> Iterable[Record] | None:
    """Return the records of a segment with its whole state first; None if it ends before all of that came."""
    given = iter(segment)
    begun: list[Record] = []
    for record in given:
        begun.append(record)
        if record.kind not in (Kind.BEGIN, Kind.TAKEN):
            break
    told = None
    with suppress(ProtocolError):
        told = read_note(begun[-1]) if begun and begun[-1].kind == Kind.PARTS else None
    if not isinstance(told, Parts):
        return chain(begun, given)
    states: list[Record] = []
    others: list[Record] = []
    while len(states) < told.tokens + told.links:
        if (record := next(given, None)) is None:
            return None
        (states if record.kind in (Kind.STATE, Kind.LINK) else others).append(record)
    # Each was written before anything changed it, so it is of the time at which the segment began.
    early = [msgspec.structs.replace(state, seq=begun[-1].seq, recv=begun[-1].recv) for state in states]
    return chain(begun, early, others, given)


def span(folder: Path) -> tuple[int, int] | None:
    """Return the receive times of the first and the last record, sealed or in the log; None when there are no records.

    Raises:
        StoreError: the folder is not a recording.
    """
    parts = _sources(folder)
    return (min(part.first_time for part in parts), max(part.last_time for part in parts)) if parts else None


def scan(folder: Path, table: str) -> pl.LazyFrame:
    """Scan the sealed rows of a table, as far as they are sealed now.

    A frame that was scanned stays readable for at least ten minutes while the recorder merges files, and for ever when
    nothing records or compacts. The files can be read without pmlive, too: ``TABLE/*/*.parquet`` matches each row once,
    save in the instant in which a merged file takes the place of its inputs.

    Raises:
        StoreError: the folder is not a recording.
        ValueError: there is no such table.
    """
    if table not in SCHEMAS:
        raise ValueError(f"no table {table!r}; there are {', '.join(SCHEMAS)}")
    there = table_paths(folder, read_manifest(folder).of(table))
    schema = SCHEMAS[table]
    if not there:
        return pl.LazyFrame(schema=schema)
    found = pl.scan_parquet(there, glob=False, hive_partitioning=False)
    return found.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def table_paths(folder: Path, files: Iterable[SealedFile]) -> list[Path]:
    """List the paths of a table's files that are there and fit into memory; missing ones are logged.

    Raises:
        StoreError: one cannot be read, is a link or not a file, is not the one that is listed by what its footer
            states, or does not fit into memory.
    """
    from pmlive.store import parquet

    there: list[Path] = []
    for file in files:
        path = folder / file.path
        try:
            parquet.check_footer(path, folder, file)
        except FileNotFoundError:
            logger.warning("%s is missing; the recording is not whole", path)
        except OSError as error:
            raise StoreError(f"{str(path)!r} cannot be read: {error.strerror}; check its permissions") from error
        except parquet.TableError as error:
            raise StoreError(f"{error}; {advice(folder)}") from error
        else:
            there.append(path)
    return there


def advice(folder: Path) -> str:
    """Return what to do about a damaged table."""
    named = quote(str(folder))
    return f"check the recording with: pmlive verify {named}, and rebuild what is damaged with: pmlive repair {named}"


def is_missing(folder: Path, file: SealedFile) -> bool:
    """Return whether a sealed file is missing.

    Raises:
        StoreError: something else is in its place.
    """
    return disk.size(folder / file.path, folder) is None


def recordings(root: Path) -> list[RecordingInfo]:
    """List the recordings in a folder, or the folder itself if it is one; those that cannot be read are logged."""
    found: list[RecordingInfo] = []
    for path in sorted({path.parent for path in (root / MANIFEST, *root.glob(f"*/{MANIFEST}")) if path.is_file()}):
        try:
            found.append(_recording_info(path, read_manifest(path)))
        except StoreError as error:
            logger.warning("%s", error)
    return found


def verify_files(folder: Path, *, rows: bool = True) -> list[FileProblem]:
    """Compare every sealed file with its checksum, and with what is listed of it.

    With ``rows`` every row of a table is read, too, which takes most of the time.

    Raises:
        StoreError: the folder is not a recording.
    """
    found: dict[SealedFile, str | None] = {}
    # A recorder that merges files or gives up raw frames changes what is listed meanwhile.
    while unchecked := [file for file in read_manifest(folder).files if file not in found]:
        found |= {file: problem_of(folder, file, rows=rows) for file in unchecked}
    listed = set(read_manifest(folder).files)
    return [FileProblem(file.path, problem) for file, problem in found.items() if problem and file in listed]


def problem_of(folder: Path, file: SealedFile, *, rows: bool = True) -> str | None:
    """Return what is wrong with a sealed file, or with its ``rows``; None where nothing is."""
    from pmlive.store import parquet

    path = folder / file.path
    try:
        with disk.open_to_read(path, folder) as stream:
            if raw.sha256_of(stream) != file.sha256:
                return _CHANGED
            if (size := stream.seek(0, SEEK_END)) != file.bytes:
                return f"has {size:,} bytes where {file.bytes:,} are listed"
        if file.table != RAW:
            parquet.check_footer(path, folder, file)
            if rows:
                parquet.check_contents(path, folder, file)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except StoreError as error:
        return f"cannot be read: {error}"
    return None


def has_no_other_rows(folder: Path, file: SealedFile) -> bool:
    """Return whether a table can be read and has no rows but those that are stated."""
    from pmlive.store import parquet

    try:
        parquet.check_footer(folder / file.path, folder, file)
    except (OSError, StoreError):
        return False
    return True


def stamp(folder: Path) -> Stamp:
    """Return what differs once a recording has grown, without reading it: equal stamps mean that nothing was added.

    Raises:
        StoreError: the folder is not a recording.
    """
    try:
        found = disk.stat(folder / MANIFEST, folder)
    except OSError as error:
        raise no_recording(folder) from error
    sizes: list[int] = []
    for number, files in segment_files(folder).items():
        for path in files:
            size = disk.size(path, folder)
            sizes += [] if size is None else [number, size]
    return (found.st_ino, found.st_mtime_ns, found.st_size, *sizes)


def read_log(folder: Path) -> tuple[Manifest, dict[int, list[bytes]]]:
    """Read the manifest, and by segment the files of the log that it does not count as sealed, at one moment.

    Raises:
        StoreError: the folder is not a recording.
    """
    # A segment may be sealed and removed while its files are read: then the manifest has changed, and is read again.
    while True:
        manifest = read_manifest(folder)
        with suppress(FileNotFoundError):
            left = {
                number: [disk.read(path, folder) for path in files]
                for number, files in unsealed_segments(folder, manifest).items()
            }
            if read_manifest(folder).sealed == manifest.sealed:
                return manifest, left


def read_tail(folder: Path) -> Tail:
    """Read the manifest, and the records of the log that it does not count as sealed.

    Raises:
        StoreError: the folder is not a recording.
    """
    manifest, left = read_log(folder)
    return Tail(manifest=manifest, segments=list(_read_segments(manifest, left)))


def read_raw(folder: Path, file: SealedFile) -> Iterator[Record]:
    """Yield the records of a sealed file after checking its SHA-256.

    Raises:
        StoreError: it is damaged, or cannot be read.
    """
    path = folder / file.path
    try:
        raw.check_sha256(path, folder, file.sha256)
        yield from raw.read(path, folder)
    except FileNotFoundError as error:
        # Raw frames that were given up meanwhile are not missing.
        if file in read_manifest(folder).files:
            raise StoreError(f"{file.table} file {file.path!r} is missing") from error
    except OSError as error:
        raise StoreError(f"{file.table} file {file.path!r} cannot be read: {error.strerror}") from error


def find_missing(folder: Path, manifest: Manifest, *, left_out: Sequence[SealedFile] = ()) -> list[MissingPart]:
    """List what was sealed and is not listed any more, in order of arrival.

    Files that were ``left_out`` of the manifest because they cannot be read are listed, too.
    """
    whole = msgspec.structs.replace(manifest, files=[*manifest.files, *left_out])
    return missing_parts(whole, lambda: _recorded_gaps(folder, manifest))


def _recorded_gaps(folder: Path, manifest: Manifest) -> list[Interval]:
    """Return the ended gaps of all tokens; none where they cannot be read, so that they account for nothing."""
    try:
        gaps = [
            pl.scan_parquet(path, glob=False).select("token_id", "conn", pl.col("started", "ended").dt.epoch("ns"))
            for path in table_paths(folder, manifest.of("gaps"))
        ]
        broad = (one.filter(pl.col("token_id").is_null(), conn=0).drop_nulls("ended") for one in gaps)
        return [row for one in broad for row in one.select("started", "ended").collect().iter_rows()]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, StoreError):
        return []


def log_files(folder: Path, manifest: Manifest) -> list[Path]:
    """List the files of the log that a manifest does not count as sealed."""
    return [path for files in unsealed_segments(folder, manifest).values() for path in files]


def unsealed_segments(folder: Path, manifest: Manifest) -> dict[int, list[Path]]:
    """List the files of each segment of the log that is not sealed, in order.

    A segment that the manifest calls sealed is sealed where its records are in listed files.
    """
    return {
        number: files
        for number, files in segment_files(folder).items()
        if number > manifest.sealed or not _is_sealed(folder, files, manifest)
    }


def _is_sealed(folder: Path, files: Iterable[Path], manifest: Manifest) -> bool:
    reading = read_segment([disk.read(path, folder) for path in files], since=0)
    if reading.damaged and not any(has_second_name(path, folder) for path in files):
        return False
    spans = [(file.first_seq, file.last_seq) for file in manifest.of(RAW)]
    return all(
        any(first <= block.first_seq and block.last_seq <= last for first, last in spans)
        for block in reading.blocks
        if block.number != LOST
    )


def _read_log(manifest: Manifest, left: dict[int, list[bytes]]) -> Iterator[tuple[int, SegmentReading]]:
    sealed = manifest.sealed_before(min(left, default=0))
    return read_segments(left, since=manifest.known_until, sealed=sealed, after=manifest.last_seq)


class _RecordSource(msgspec.Struct, frozen=True):
    """A segment, sealed or not."""

    first_time: int
    last_time: int
    records: Callable[[], Iterable[Record]]


def _sources(folder: Path) -> list[_RecordSource]:
    manifest, left = read_log(folder)
    sealed = [
        (file.first_seq, _RecordSource(file.first_time, file.last_time, partial(_sealed_records, folder, file)))
        for file in manifest.of(RAW)
    ]
    sealed += [(part.seq, _missing_source(part)) for part in find_missing(folder, manifest) if part.frames]
    parts = [part for _, part in sorted(sealed, key=lambda one: one[0])]
    for _, reading in _read_log(manifest, left):
        if reading.blocks:
            blocks = reading.blocks
            parts.append(_RecordSource(blocks[0].first_recv, blocks[-1].last_recv, reading.records))
    return parts


def _missing_source(part: MissingPart) -> _RecordSource:
    """Return what stands in place of raw records that the manifest does not list."""
    gap = Gap(started=part.started, ended=part.ended, cause="disk", detail=part.detail)
    block = loss_block(Loss(gap, beginning=True), seq=part.seq, recv=part.ended, ends=True)
    return _RecordSource(part.started, part.ended, SegmentReading(blocks=[block]).records)


def _sealed_records(folder: Path, file: SealedFile) -> Iterator[Record]:
    try:
        stream = disk.open_to_read(folder / file.path, folder)
    except OSError as error:
        yield from _moved_records(folder, file, error)
        return
    with stream:
        if raw.sha256_of(stream) == file.sha256:
            yield from raw.records(stream)
            return
        stream.seek(0)
        data = stream.read()
    yield from _salvaged_records(data, file, problem=_CHANGED)


def _moved_records(folder: Path, file: SealedFile, error: OSError) -> Iterator[Record]:
    # The frames were repaired into another file, or they were given up, or they are lost.
    manifest = read_manifest(folder)
    others = [one for one in manifest.of(RAW) if one.first_seq <= file.last_seq and file.first_seq <= one.last_seq]
    if file in others:
        yield from _salvaged_records(b"", file, problem=f"cannot be read: {error.strerror}")
    elif others:
        for other in others:
            yield from _sealed_records(folder, other)
    else:
        yield from _salvaged_records(b"", file, problem="was given up while the recording was read")


def _salvaged_records(data: bytes, file: SealedFile, *, problem: str) -> Iterator[Record]:
    left = raw.salvage(data, file)
    logger.warning("%s %s; %d frames are a gap", file.path, problem, left.missing)
    return left.reading.records()


def _recording_info(folder: Path, manifest: Manifest) -> RecordingInfo:
    frames = manifest.of(RAW)
    left = (path for files in segment_files(folder).values() for path in files)
    return RecordingInfo(
        path=str(folder),
        created=manifest.created,
        markets=len(manifest.markets),
        rows=sum(file.rows for file in manifest.files if file.table != RAW),
        bytes=sum(file.bytes for file in manifest.files),
        unsealed=sum(disk.size(path, folder) or 0 for path in left),
        first_time=min((file.first_time for file in frames), default=None),
        last_time=max((file.last_time for file in frames), default=None),
    )


def _read_segments(manifest: Manifest, left: dict[int, list[bytes]]) -> Iterator[UnsealedSegment]:
    readings = dict(_read_log(manifest, left))
    check_sizes(block for reading in readings.values() for block in reading.blocks)
    for number, reading in readings.items():
        yield UnsealedSegment(
            number=number,
            size=sum(map(len, left[number])),
            records=list(reading.records()),
            torn=reading.torn,
            damaged=reading.damaged,
        )


# --- diagnosis ---
# The diagnosis of a read that failed: which table is damaged or is not as it states, and what to do.
#
# Readers trust what is listed of a table and what its footer states, since checking that takes as long as reading all
# of it. Where that trust was wrong, something fails: polars, or code of ours that finds no row, or null where there is
# always a value. Only then the tables are checked, so that the error names the file and not the line that failed.

# Errors that say what is wrong already.
_TOLD = (AuthError, BookError, FeedError, StoreError, UnknownMarketError)


def collect(folder: Path, table: str, frame: pl.LazyFrame) -> pl.DataFrame:
    """Collect a frame of a table.

    Raises:
        StoreError: a file is damaged, is not as it states, or cannot be read.
    """
    try:
        with diagnosed(folder, (table,)):
            return frame.collect()
    except OSError as error:
        raise StoreError(_unexplained(folder, (table,), error)) from error


@contextmanager
def diagnosed(folder: Path, tables: Sequence[str] = STORED) -> Generator[None]:
    """Report the table that made the block fail, if one did; its files are checked only then.

    Raises:
        StoreError: a table is damaged or is not as it states, or polars could not read one.
    """
    try:
        yield
    except (MemoryError, *_TOLD):
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        found = _first_problem(folder, tables)
        if found is not None:
            file, problem = found
            path = str(folder / file.path)
            raise StoreError(f"{path!r} {problem}; {advice(folder)}") from error
        if isinstance(error, pl.exceptions.PolarsError | pl.exceptions.PanicException):
            raise StoreError(_unexplained(folder, tables, error)) from error
        raise


def _first_problem(folder: Path, tables: Sequence[str]) -> tuple[SealedFile, str] | None:
    files = [file for file in read_manifest(folder).files if file.table in tables]
    problems = chain(
        ((file, problem_of(folder, file)) for file in files), ((file, _nulls_in(folder, file)) for file in files)
    )
    return next(((file, problem) for file, problem in problems if problem is not None), None)


def _nulls_in(folder: Path, file: SealedFile) -> str | None:
    """Return where a file has no value that readers need: the manifest and the footer tell the truth of it."""
    from pmlive.store import parquet

    try:
        found = parquet.find_nulls(folder / file.path, folder, file.table)
    except (OSError, StoreError) as error:
        return f"cannot be read: {error}"
    return None if found is None else f"is not as a recorder writes it: {found}"


def _unexplained(folder: Path, tables: Sequence[str], error: BaseException) -> str:
    # polars repeats values of the file.
    reason = "".join(letter for letter in str(error).partition("\n")[0] if letter.isprintable())[:200]
    reason = reason or type(error).__name__
    which = f"table {tables[0]!r}" if len(tables) == 1 else "a table"
    return f"{which} of {str(folder)!r} cannot be read ({reason}), though its files are as listed; {advice(folder)}"
