"""Merging: neighbouring small files of a table become one, and no reader loses a row or sees it twice.

A merge goes in this order, and a crash between any two steps loses and doubles nothing:

1. the merged file is written under ``merged/``, out of sight of readers of ``TABLE/*/*.parquet``: under a
   temporary name, synced, read back, renamed;
2. one change of the manifest lists it in place of its inputs: *from here on it counts*. The inputs stay where they are;
   the manifest remembers since when they are replaced;
3. after a time of grace, in which frames that were scanned before 2 find their files, the manifest says that the
   inputs are going; the merged file gets its name under ``TABLE/``, the inputs are removed, and the manifest says so.
   A reader by names sees either the inputs or the merged file, save in the instant between; after a crash just then,
   the next process that opens the recording for writing finishes it first;
4. the name under ``merged/`` stays for another time of grace, for frames that were scanned between 2 and 3.

So no path that a reader was given vanishes before its grace is over, and names alone never show a row twice. Raw frames
are not merged.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, takewhile
from pathlib import PurePosixPath

import msgspec

from pmlive.errors import StoreError
from pmlive.logs import get_logger
from pmlive.store import disk
from pmlive.store.manifest import MERGED, RAW, Manifest, Replaced, SealedFile, is_sealed_path
from pmlive.store.sealing import WriteContext, discard, publish, stage_table

__all__ = [
    "GRACE_S",
    "MergeLimits",
    "Upkeep",
    "finish_interrupted",
    "give_up_raw",
    "is_hidden",
    "merge",
    "plan_merges",
    "replace_inputs",
]

logger = get_logger(__name__)

# Seconds for which a replaced file can still be read.
GRACE_S = 600.0

_SECOND_NS = 1_000_000_000
# The ``since`` of inputs that are being removed.
_REMOVING = 0


class MergeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a merge: ``files`` neighbours, or fewer that are ``seconds`` apart.

    A merged file has ``rows`` and ``bytes`` at most.
    """

    files: int = 8
    seconds: float = 3600.0
    rows: int = 2_000_000
    bytes: int = 64 << 20


class Upkeep:
    """Maintains a recording that is being written: merges small files, removes replaced ones, gives up old raw frames.

    Trouble is logged and never stops the recording. What an earlier run recorded is merged separately.
    """

    def __init__(
        self,
        context: WriteContext,
        limits: MergeLimits,
        *,
        grace: float,
        keep_raw: float | None,
        clock: Callable[[], int],
    ) -> None:
        self._context = context
        self._limits = limits
        self._grace = grace
        self._keep_raw = keep_raw
        self._clock = clock
        self._boundary = context.manifest.current.next_seq
        self._unmergeable: set[str] = set()
        self._failing = False

    def run_once(self) -> bool:
        """Do the next piece of work; return True when there may be more."""
        try:
            more = self._merge_next()
        except OSError as error:
            if not self._failing:
                folder = str(self._context.folder)
                logger.warning("recording %r: files cannot be merged now: %s; nothing is lost", folder, error)
            self._failing = True
            return False
        self._failing = False
        return more

    def _merge_next(self) -> bool:
        now = self._clock()
        replace_inputs(self._context, now=now, grace=self._grace)
        if self._keep_raw is not None:
            give_up_raw(self._context, now=now, keep=self._keep_raw)
        for inputs in plan_merges(self._context.manifest.current, self._limits, boundary=self._boundary):
            paths = {file.path for file in inputs}
            if paths & self._unmergeable:
                continue
            try:
                merge(inputs, self._context, now=now)
            except (OSError, KeyboardInterrupt):
                # These say nothing of the files.
                raise
            except StoreError as error:
                self._unmergeable |= paths
                logger.warning("recording %r: %s", str(self._context.folder), error)
            except BaseException:
                # The next run tries again; the other files are merged nevertheless.
                self._unmergeable |= paths
                raise
            return True
        return False


def plan_merges(manifest: Manifest, limits: MergeLimits, *, boundary: int = 0) -> list[list[SealedFile]]:
    """Choose the files to merge, as a list for each merge; no merge has numbers on both sides of ``boundary``."""
    if not limits.files:
        return []
    tables = sorted({file.table for file in manifest.files} - {RAW})
    days = (list(day) for table in tables for _, day in groupby(manifest.of(table), key=_day))
    return [run.files for day in days for run in _neighbours(day, limits, boundary) if run.is_worth_it(limits)]


def merge(inputs: list[SealedFile], context: WriteContext, *, now: int) -> None:
    """Merge files into one, which waits out of sight until ``replace_inputs`` puts it in their place.

    Raises:
        OSError: the disk did not take it; nothing has changed.
        StoreError: an input is damaged, or what was read back is not what was written; nothing has changed.
    """
    from pmlive.store import parquet

    first, last = inputs[0], inputs[-1]
    encoded = parquet.merge(first.table, (_contents(file, context) for file in inputs))
    listed = sum(file.rows for file in inputs)
    if encoded.rows != listed:
        raise StoreError(f"{first.path!r} and the files after it have {encoded.rows} rows, and {listed} are listed")
    name = f"{first.first_time}-{context.run}-{first.first_seq}to{last.last_seq}.parquet"
    path = f"{MERGED}/{first.table}/{_day(first)}/{name}"
    staged = stage_table(context.folder, path, first.table, encoded)
    try:
        context.step(f"wrote merged {first.table}")
        publish([staged], context)
    except Exception:
        discard([staged])
        raise
    context.step("before the manifest lists the merged file")
    replaced = [Replaced(path=file.path, by=path, since=now) for file in inputs]
    context.manifest.change(lambda manifest: _with_merged(manifest, inputs, [staged.file], replaced))
    context.step("after the manifest lists the merged file")


def replace_inputs(context: WriteContext, *, now: int, grace: float) -> None:
    """Put merged files in the place of inputs whose grace is over, and remove names that no reader uses any more.

    Raises:
        OSError: the disk refused; this can be done again.
    """
    for file in [file for file in context.manifest.current.files if is_hidden(file.path)]:
        inputs = [old for old in context.manifest.current.replaced if old.by == file.path]
        if all(_is_over(old, now, grace) for old in inputs):
            _put_in_place(file, inputs, context, now)
    manifest = context.manifest.current
    listed = {file.path for file in manifest.files}
    for old in manifest.replaced:
        is_due = old.path not in listed and (is_hidden(old.path) or old.by not in listed)
        if is_due and _is_over(old, now, grace):
            _remove_replaced(old, context)


def finish_interrupted(context: WriteContext, *, now: int) -> None:
    """Finish the replacements that a crash interrupted.

    Raises:
        OSError: the disk refused; this can be done again.
    """
    replace_inputs(context, now=now, grace=math.inf)


def is_hidden(path: str) -> bool:
    """Return whether a path is that of a merged file that is still out of sight."""
    return path.startswith(f"{MERGED}/")


def give_up_raw(context: WriteContext, *, now: int, keep: float) -> None:
    """Remove the raw frames that are older than ``keep`` seconds; the tables made of them stay.

    Raises:
        OSError: the disk refused; this can be done again.
    """
    frames = context.manifest.current.of(RAW)
    # Only from the beginning on: a clock that was set back must not make a hole.
    old = list(takewhile(lambda file: now - file.last_time > keep * 1e9, frames))
    if not old:
        return
    context.manifest.change(lambda manifest: _without_raw(manifest, old))
    context.step("before raw frames are removed")
    for file in old:
        disk.remove(context.folder / file.path, context.folder)
        disk.remove_empty((context.folder / file.path).parent, context.folder)
        context.step("removed raw frames")


def _day(file: SealedFile) -> str:
    return PurePosixPath(file.path).parent.name


class _Neighbours:
    """Neighbours that fit into one file; ``full`` once the next one does not fit."""

    def __init__(self) -> None:
        self.files: list[SealedFile] = []
        self.full = False

    def takes(self, file: SealedFile, limits: MergeLimits, boundary: int) -> bool:
        if not self.files:
            return True
        last = self.files[-1]
        if file.first_seq < last.last_seq or last.first_seq < boundary <= file.first_seq:
            return False
        everything = [*self.files, file]
        self.full = (
            sum(one.rows for one in everything) > limits.rows or sum(one.bytes for one in everything) > limits.bytes
        )
        return not self.full

    def is_worth_it(self, limits: MergeLimits) -> bool:
        if not self.files[1:]:
            return False
        span = self.files[-1].last_time - self.files[0].first_time
        return self.full or len(self.files) >= limits.files or span >= limits.seconds * _SECOND_NS


def _neighbours(day: Iterable[SealedFile], limits: MergeLimits, boundary: int) -> Iterator[_Neighbours]:
    found = _Neighbours()
    for file in day:
        large = file.rows > limits.rows // 2 or file.bytes > limits.bytes // 2
        waiting = is_hidden(file.path)
        if large or waiting or not found.takes(file, limits, boundary):
            found.full = found.full or large
            yield found
            found = _Neighbours()
        if not large and not waiting:
            found.files.append(file)
    yield found


def _with_merged(
    manifest: Manifest, removed: list[SealedFile], new: list[SealedFile], replaced: list[Replaced]
) -> Manifest:
    rest = manifest.without(removed)
    return msgspec.structs.replace(rest, files=[*rest.files, *new], replaced=[*rest.replaced, *replaced])


def _contents(file: SealedFile, context: WriteContext) -> bytes:
    try:
        data = disk.read(context.folder / file.path, context.folder)
    except FileNotFoundError as error:
        raise StoreError(f"{file.path!r} is missing and is not merged; repair the recording") from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise StoreError(f"{file.path!r} is damaged and is not merged; repair the recording")
    return data


def _is_over(old: Replaced, now: int, grace: float) -> bool:
    return old.since == _REMOVING or now - old.since >= grace * _SECOND_NS


def _put_in_place(file: SealedFile, inputs: list[Replaced], context: WriteContext, now: int) -> None:
    path = file.path.removeprefix(f"{MERGED}/")
    final = context.folder / path
    going = [msgspec.structs.replace(old, since=_REMOVING) for old in inputs]
    context.manifest.change(lambda manifest: _with_merged(_without_replaced(manifest, inputs), [], [], going))
    context.step("after the manifest says that inputs are going")
    disk.make_folder(final.parent, context.folder)
    disk.link(context.folder / file.path, final, context.folder)
    context.step("linked a merged file")
    for old in inputs:
        _remove(old.path, context)
    disk.sync_folder(final.parent, context.folder)
    context.step("removed the inputs")
    shown = msgspec.structs.replace(file, path=path)
    waiting = Replaced(path=file.path, by=path, since=now)
    context.manifest.change(
        lambda manifest: _with_merged(_without_replaced(manifest, going), [file], [shown], [waiting])
    )
    context.step("after the manifest lists the name in sight")


def _remove_replaced(old: Replaced, context: WriteContext) -> None:
    context.manifest.change(lambda manifest: _without_replaced(manifest, [old]))
    context.step("before a name is removed")
    _remove(old.path, context)
    for folder in list((context.folder / old.path).parents)[:3] if is_sealed_path(old.path) else ():
        disk.remove_empty(folder, context.folder)


def _without_replaced(manifest: Manifest, removed: list[Replaced]) -> Manifest:
    return msgspec.structs.replace(manifest, replaced=[old for old in manifest.replaced if old not in removed])


def _remove(path: str, context: WriteContext) -> None:
    # The manifest may come from a stranger.
    if is_sealed_path(path):
        disk.remove(context.folder / path, context.folder)


def _without_raw(manifest: Manifest, old: list[SealedFile]) -> Manifest:
    until = max(file.last_time for file in old) + 1
    return msgspec.structs.replace(manifest.without(old), raw_from=max(until, manifest.raw_from or 0))
