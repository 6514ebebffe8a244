"""Opening of a folder for writing: foreign folders are refused, the lock is taken, what a crash left is finished."""

import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import polars as pl

from pmlive.errors import ProtocolError, StoreError
from pmlive.logs import get_logger
from pmlive.records import Kind, Note, Opened, TokenState, read_note
from pmlive.store import disk
from pmlive.store.leftovers import remove_unlisted, sealed_files, unlisted_segments
from pmlive.store.log import WAL, Block, SegmentReading, check_sizes, decode_entries, read_segments, segment_files
from pmlive.store.manifest import (
    MANIFEST,
    RAW,
    Manifest,
    ManifestFile,
    SealedFile,
    new_manifest,
    read_manifest,
)
from pmlive.store.merging import finish_interrupted
from pmlive.store.reader import collect, table_paths, unsealed_segments
from pmlive.store.sealing import Rebuild, SealContext, Segment, StepHook, WriteContext, seal

__all__ = ["Earlier", "OpenedFolder", "Recovery", "locked_recording", "open_folder"]

logger = get_logger(__name__)

# This many bytes of log are decoded within a second; a larger log is sealed while recording goes on.
_SEALED_AT_ONCE_BYTES = 4 << 20
# More numbers than one record and the end of a run use, so that new ones are free whatever the log holds.
_SPARE_NUMBERS = 1 << 20
# Files that operating systems put into folders by themselves.
_HARMLESS = ("Thumbs.db", "desktop.ini", "lost+found")
# Foreign names in an error message.
_MOST_SHOWN = 3
# The tables with a row for each message of the venue, and how many last rows show by how much the clocks differ.
_EVENT_TABLES = ("book_deltas", "trades")
_NEWEST_ROWS = 20
# Its rows have the times of whole minutes.
_MINUTE_TABLE = "checks"
# The records that tell which tokens are followed.
_FOLLOWING = (Kind.STATE, Kind.OPEN, Kind.WANT, Kind.SUBSCRIBE)


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """The records that were recovered from the log of an earlier run; ``torn`` and ``damaged`` are bytes."""

    segments: int = 0
    records: int = 0
    torn: int = 0
    damaged: int = 0


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """The times of earlier runs, in nanoseconds since 1970, and the tokens that the last one followed.

    ``last_recv`` is the receive time of the last record, and ``heard`` that of the last row with a venue's time, if
    there is one, which came ``late`` after it: by seconds and more where the clock was ahead. ``spans`` are the first
    and last receive times of what was recorded.
    """

    last_recv: int
    heard: int | None = None
    late: int = 0
    spans: list[tuple[int, int]] = []
    tokens: frozenset[str] = frozenset()

    def taken(self, now: int) -> tuple[int, int] | None:
        """Return the interval of receive times after now that are recorded already, by a clock that was ahead."""
        later = [(max(first, now), last) for first, last in self.spans if last > now]
        return (min(first for first, _ in later), max(last for _, last in later)) if later else None


class OpenedFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A locked folder, and where recording into it goes on; the segments ``waiting`` are sealed first."""

    lock: disk.FolderLock
    context: SealContext
    recovery: Recovery
    waiting: list[Segment]
    next_seq: int
    earlier: Earlier | None
    next_segment: int

    @property
    def manifest(self) -> ManifestFile:
        """The manifest of the recording."""
        return self.context.manifest


class Simulated(msgspec.Struct, frozen=True):
    """Whether all that is recorded is of a simulated venue, and otherwise which tokens are."""

    all: bool = False
    tokens: tuple[str, ...] = ()

    def noted_in(self, manifest: Manifest) -> Manifest:
        """Return a manifest that says so, beside what it said before."""
        return msgspec.structs.replace(
            manifest,
            simulated=self.all or manifest.simulated,
            simulated_tokens=sorted({*manifest.simulated_tokens, *self.tokens}),
        )


NONE_SIMULATED = Simulated()


def open_folder(
    folder: Path,
    *,
    rebuild: Rebuild,
    level: int,
    clock: Callable[[], int],
    step: StepHook,
    simulated: Simulated = NONE_SIMULATED,
) -> OpenedFolder:
    """Create or check a folder, lock it, and recover what an earlier run left in the log.

    What is recorded, or some tokens of it, is noted to be ``simulated`` once and for all.

    Raises:
        StoreError: it is not a recording, another process records into it, or it cannot be written; nothing is left
            behind.
    """
    created: list[Path] = []
    try:
        if folder.exists():
            _check(folder)
        created += disk.make_folder(folder)
        return _open_locked(folder, rebuild=rebuild, level=level, clock=clock, step=step, simulated=simulated)
    except OSError as error:
        _remove_created(created)
        raise StoreError(f"{str(folder)!r} cannot be recorded into: {error}; choose another folder") from error


@contextmanager
def locked_recording(folder: Path, *, now: int, step: StepHook) -> Generator[WriteContext]:
    """Hold the lock of an existing recording; its log is left to the next recorder.

    Raises:
        StoreError: it is not a recording, it is being recorded, or it cannot be written.
    """
    read_manifest(folder)
    _check_paths(folder)
    try:
        lock = disk.FolderLock(folder)
    except OSError as error:
        raise StoreError(f"{str(folder)!r} cannot be locked: {error}; check its permissions") from error
    try:
        yield _write_context(folder, now, step)
    finally:
        lock.release()


def _write_context(folder: Path, now: int, step: StepHook) -> WriteContext:
    context = WriteContext(
        folder=folder, manifest=ManifestFile(folder, read_manifest(folder)), run=secrets.token_hex(4), step=step
    )
    try:
        remove_unlisted(folder, context.manifest.current)
        finish_interrupted(context, now=now)
    except OSError as error:
        raise StoreError(f"{str(folder)!r} cannot be written: {error}; check the disk and its permissions") from error
    return context


def _open_locked(
    folder: Path, *, rebuild: Rebuild, level: int, clock: Callable[[], int], step: StepHook, simulated: Simulated
) -> OpenedFolder:
    lock = disk.FolderLock(folder)
    try:
        there = _check(folder)
        current = _corrected(folder, there) if there else new_manifest(clock())
        manifest = ManifestFile(folder, simulated.noted_in(current))
        # Written even when it is there: a folder that cannot be written is refused now and not in an hour.
        manifest.write()
        disk.make_folder(folder / WAL, folder)
        context = SealContext(
            folder=folder, manifest=manifest, rebuild=rebuild, run=secrets.token_hex(4), level=level, step=step
        )
        remove_unlisted(folder, manifest.current)
        finish_interrupted(context, now=clock())
        opened = _recover(context, lock)
        if there is None or opened.earlier is not None:
            return opened
        # Nothing of what an earlier run received is left.
        return msgspec.structs.replace(opened, earlier=Earlier(last_recv=there.known_until))
    except BaseException:
        lock.release()
        raise


def _corrected(folder: Path, manifest: Manifest) -> Manifest:
    """Return a manifest whose segment and number agree with its files and the log.

    ``last_recv`` is left as it is until another record is sealed: it may be the only sign of what is not listed.
    """
    log = min(unsealed_segments(folder, manifest), default=manifest.sealed + 1)
    sealed = manifest.sealed if log > manifest.sealed else log - 1
    next_seq = max([manifest.next_seq, *(file.last_seq + 1 for file in manifest.files)])
    return msgspec.structs.replace(manifest, sealed=sealed, next_seq=next_seq)


def _last_recv(manifest: Manifest) -> int | None:
    """Return when the last sealed record came, by the files where the manifest contradicts them."""
    frames, last_recv = manifest.of(RAW), manifest.last_recv
    if frames and last_recv is not None and not frames[-1].first_time <= last_recv <= frames[-1].last_time:
        return frames[-1].last_time
    return last_recv


def _check(folder: Path) -> Manifest | None:
    if not folder.is_dir():
        raise StoreError(f"{str(folder)!r} is not a folder; choose another one")
    _check_paths(folder)
    if disk.size(folder / MANIFEST, folder) is not None:
        return read_manifest(folder)
    if sealed_files(folder):
        message = f"{str(folder)!r} has sealed files and no {MANIFEST}; restore it or choose another folder"
        raise StoreError(message)
    _refuse_foreign(folder)
    return None


def _check_paths(folder: Path) -> None:
    """Refuse a folder in which a name of ours is a link or not a file, before anything in it is changed."""
    for name in (disk.LOCK, MANIFEST, f".{MANIFEST}.tmp"):
        disk.size(folder / name, folder)
    for path in (*disk.paths(folder / WAL, folder), *sealed_files(folder)):
        disk.size(path, folder)


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds foreign files, also below a name of ours.

    What is left of a recording that lost its manifest may have other files beside it: a log, or folders without files.
    """
    if segment_files(folder):
        return
    ours = [folder / name for name in (WAL, RAW) if (folder / name).is_dir()]
    foreign = [path.name for path in ours if not all(each.is_dir() for each in path.rglob("*"))]
    if not ours:
        names = sorted(path.name for path in folder.iterdir())
        foreign = [name for name in names if not name.startswith(".") and name not in _HARMLESS]
    if not foreign:
        return
    shown = ", ".join(repr(name) for name in foreign[:_MOST_SHOWN])
    more = f" and {len(foreign) - _MOST_SHOWN} more" if len(foreign) > _MOST_SHOWN else ""
    raise StoreError(
        f"{str(folder)!r} is not a recording: it holds {shown}{more}; choose an empty folder or one that is not there"
    )


def _remove_created(created: list[Path]) -> None:
    for path in reversed(created):
        for leftover in (path / disk.LOCK, path / f".{MANIFEST}.tmp", path / MANIFEST):
            disk.discard(leftover, path)
        disk.remove_empty(path / WAL, path)
        disk.remove_empty(path, path.parent)


def _recover(context: SealContext, lock: disk.FolderLock) -> OpenedFolder:
    """Seal what an earlier run left if that is quick; else leave it to be sealed while recording goes on after it."""
    left, last = list(_unsealed_segments(context.folder, context.manifest.current)), context.manifest.current
    check_sizes(block for _, reading in left for block in reading.blocks)
    recovery = Recovery()
    for _, reading in left:
        recovery = _added(recovery, reading)
    if recovery.damaged:
        logger.warning(
            "recording %r: %d bytes of the log are damaged; that is a gap; see wal/*.damaged-*",
            str(context.folder),
            recovery.damaged,
        )
    waiting = [segment for segment, _ in left]
    if sum(len(block.payload) for _, reading in left for block in reading.blocks) <= _SEALED_AT_ONCE_BYTES:
        for segment in waiting:
            _seal(segment, context)
        waiting, last = [], context.manifest.current
    blocks = [block for _, reading in left for block in reading.blocks] if waiting else []
    return OpenedFolder(
        lock=lock,
        context=context,
        recovery=recovery,
        waiting=waiting,
        next_seq=max([last.next_seq, *(block.last_seq + _SPARE_NUMBERS for block in blocks)]),
        earlier=_earlier(context.folder, last, waiting, blocks),
        next_segment=max(
            [last.sealed, *(segment.number for segment in waiting), *unlisted_segments(context.folder, last)]
        )
        + 1,
    )


def _earlier(folder: Path, manifest: Manifest, waiting: Sequence[Segment], blocks: Sequence[Block]) -> Earlier | None:
    last_recv = blocks[-1].last_recv if blocks else _last_recv(manifest)
    if last_recv is None:
        return None
    spans = [(file.first_time, file.last_time) for file in manifest.files if file.table != _MINUTE_TABLE]
    spans += [(segment.first_recv, segment.last_recv) for segment in waiting]
    heard, late = _last_event_times(folder, manifest)
    tokens = frozenset((*_sealed_tokens(folder, manifest), *_noted_tokens(blocks)))
    return Earlier(last_recv=last_recv, heard=heard, late=late, spans=spans, tokens=tokens)


def _sealed_tokens(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yield the tokens of the last states that were sealed, and of the books since."""
    since = 0
    for file in sorted(manifest.of("keyframes"), key=lambda file: file.first_seq, reverse=True):
        states = _read_tokens(folder, file, "alone")
        yield from states["token_id"]
        # A run that was killed may not have written the states of all.
        if not states["alone"].all():
            since = file.first_seq
            break
    for file in manifest.of("book_snapshots"):
        if file.last_seq >= since:
            yield from _read_tokens(folder, file)["token_id"]


def _read_tokens(folder: Path, file: SealedFile, *columns: str) -> pl.DataFrame:
    """Read the tokens of a file, each once, with other columns; none where that fails, which is logged."""
    wanted = [pl.col("token_id").cast(pl.String), *columns]
    try:
        rows = [pl.scan_parquet(path, glob=False).select(wanted) for path in table_paths(folder, [file])]
        found = [collect(folder, file.table, each.drop_nulls("token_id").unique()) for each in rows]
    except StoreError as error:
        logger.warning("recording %r: tokens cannot be read: %s", str(folder), error)
        found = []
    return pl.concat(found) if found else pl.DataFrame(schema=["token_id", *columns])


def _noted_tokens(blocks: Iterable[Block]) -> Iterator[str]:
    """Yield the tokens that the notes of a log name as followed; whoever seals it tells what cannot be read."""
    for block in blocks:
        with suppress(StoreError):
            for record in decode_entries(block.entries()):
                if record.kind in _FOLLOWING:
                    with suppress(ProtocolError):
                        yield from _tokens_of(read_note(record))


def _tokens_of(note: Note) -> Sequence[str]:
    match note:
        case TokenState():
            return [note.token_id]
        case Opened(channel="market"):
            return note.keys
        case list():
            return note
        case _:
            return ()


def _last_event_times(folder: Path, manifest: Manifest) -> tuple[int | None, int]:
    """Return the last receive time of a message, and the smallest delay of the last ones: a few may have waited."""
    files = sorted((file for table in _EVENT_TABLES for file in manifest.of(table)), key=lambda file: file.last_seq)
    if not files:
        return None, 0
    newest = files[-1]
    late = (pl.col("ts_recv") - pl.col("ts_event")).dt.total_nanoseconds()
    try:
        paths = table_paths(folder, [newest])
        rows = [pl.scan_parquet(path, glob=False).select("seq", "ts_recv", late=late) for path in paths]
        found = [collect(folder, newest.table, each.drop_nulls().sort("seq").tail(_NEWEST_ROWS)) for each in rows]
    except StoreError as error:
        # Reading the recording reports that it is damaged.
        logger.warning("recording %r: the last rows cannot be read: %s", str(folder), error)
        return None, 0
    last = next(iter(found), None)
    if last is None or last.is_empty():
        return None, 0
    return last["ts_recv"].dt.epoch("ns")[-1], min(last["late"].to_list())


def _unsealed_segments(folder: Path, manifest: Manifest) -> Iterator[tuple[Segment, SegmentReading]]:
    """Read the segments that are not sealed, without decoding their records."""
    left = unsealed_segments(folder, manifest)
    contents = {number: [disk.read(path, folder) for path in files] for number, files in left.items()}
    since, after = manifest.known_until, manifest.last_seq
    for number, reading in read_segments(contents, since=since, sealed=manifest.sealed, after=after):
        following = min((other for other in left if other > number), default=None)
        blocks = reading.blocks
        times = (blocks[0].first_recv, blocks[-1].last_recv) if blocks else (0, 0)
        yield (
            Segment(
                number=number,
                files=left[number],
                following=left[following] if following is not None else (),
                first_recv=times[0],
                last_recv=times[1],
            ),
            reading,
        )


def _seal(segment: Segment, context: SealContext) -> None:
    try:
        seal(segment, context)
    except (OSError, StoreError):
        raise
    except Exception as error:
        message = f"the log of an earlier run in {str(context.folder)!r} cannot be decoded ({error}); it is kept"
        raise StoreError(message) from error


def _added(found: Recovery, reading: SegmentReading) -> Recovery:
    return Recovery(
        segments=found.segments + 1,
        records=found.records + sum(block.count for block in reading.blocks),
        torn=found.torn + reading.torn,
        damaged=found.damaged + reading.damaged,
    )
