"""The manifest: the one list of what is sealed. A file counts from the moment at which the manifest names it.

Times are nanoseconds since 1970 by our clock. ``sealed`` is the last segment of the log whose files are listed, so a
leftover of it is deleted and a later one is rebuilt. ``holes`` are the intervals that could not be kept; each is noted
before anything that came after it. ``replaced`` are names that count no more and are not removed yet; raw frames before
``raw_from`` were given up. ``segments`` says a second time, segment by segment, what was sealed, so that an entry of
``files`` that is gone is missed.
"""

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Annotated, TypeAlias

import msgspec

from pmlive.errors import StoreError
from pmlive.events import Gap
from pmlive.store import disk

__all__ = [
    "MANIFEST",
    "MERGED",
    "OURS",
    "RAW",
    "SCHEMA",
    "Manifest",
    "ManifestFile",
    "Replaced",
    "SealedFile",
    "SealedSegment",
    "is_ours",
    "new_manifest",
    "read_manifest",
    "segment_number",
]

MANIFEST = "manifest.json"
RAW = "raw"
# The folder in which a merged file waits, out of sight, until its inputs are removed.
MERGED = "merged"
SCHEMA = 1
# A million files take about 400 MB.
_LARGEST = 512 << 20
# Only files of this form are ever listed, renamed or removed.
OURS = re.compile(r"\d{1,20}-[0-9a-f]{8}-(\d{6,20}|\d{1,20}to\d{1,20})(\.parquet|\.log\.zst)", re.ASCII)
# A file that one segment of the log became is named by its number.
_OF_SEGMENT = re.compile(r"-(\d{6,20})\.[a-z.]+", re.ASCII)
_PATH = re.compile(rf"(?:{MERGED}/)?(?P<table>[a-z_]+)/date=\d{{4}}-\d\d-\d\d/{OURS.pattern}", re.ASCII)

Market: TypeAlias = dict[str, object]


class SealedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that never changes again; ``path`` is relative to the recording, with forward slashes."""

    path: str
    table: str
    rows: int
    bytes: int
    sha256: str
    first_seq: int
    last_seq: int
    first_time: int
    last_time: int


class SealedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment of the log became: the numbers and times of its records, and how many rows of each table.

    ``raw`` is among the tables. ``last_seq`` is the last number that a record or a row of it has.
    """

    number: int
    first_seq: int
    last_seq: int
    first_time: int
    last_time: int
    rows: dict[str, int]

    @classmethod
    def of(cls, number: int, files: Sequence[SealedFile]) -> "SealedSegment":
        """Return what the files of a segment are, its raw file among them."""
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
    markets: list[Market] = []
    files: list[SealedFile] = []
    sealed: int = 0
    next_seq: int = 0
    last_recv: int | None = None
    holes: list[Gap] = []
    replaced: list[Replaced] = []
    raw_from: int | None = None
    segments: list[SealedSegment] = []

    @property
    def known_until(self) -> int:
        """When the last sealed record came or, before there is one, when the recording was made.

        In nanoseconds since 1970; nothing is missing before. The files know better than a note beside them.
        """
        if self.last_recv is not None:
            frames = self.of(RAW)
            return min(self.last_recv, frames[-1].last_time) if frames else self.last_recv
        return self.began

    @property
    def began(self) -> int:
        """When the recording was made, in nanoseconds since 1970."""
        try:
            return int(datetime.fromisoformat(self.created).timestamp()) * 1_000_000_000
        except ValueError as error:
            raise StoreError(f"invalid time {self.created[:60]!r} in the manifest; expected ISO 8601") from error

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
        """Return since when, in nanoseconds since 1970, nobody knows what a lost file told.

        A gap is written when it is found out, and begins before that; at the earliest where the segment before ended.
        """
        before = [file.last_time for file in self.files if file.last_seq < lost.first_seq]
        return min(lost.first_time, max(before, default=lost.first_time))

    def without(self, given_up: Iterable[SealedFile]) -> "Manifest":
        """Return the manifest without these files."""
        paths = {file.path for file in given_up}
        return msgspec.structs.replace(self, files=[file for file in self.files if file.path not in paths])

    def with_markets(self, markets: Sequence[Market]) -> "Manifest":
        """Return the manifest with these markets, which replace what was known of the same ones."""
        known = {str(market.get("condition_id") or market): market for market in (*self.markets, *markets)}
        return msgspec.structs.replace(self, markets=list(known.values()))


class _Version(msgspec.Struct):
    schema: Annotated[int, msgspec.Meta(ge=1)]


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
        data = disk.read(path, folder, most=_LARGEST)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"{str(folder)!r} is not a recording: it has no {MANIFEST}") from error
    except OSError as error:
        raise StoreError(f"{str(path)!r} cannot be read: {error.strerror}; check its permissions") from error
    return _decode(path, data)


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
    return msgspec.structs.replace(manifest, files=files)


def is_ours(path: str) -> bool:
    """Return whether a path is one that sealing, merging or repairing writes."""
    return _PATH.fullmatch(path) is not None


def segment_number(path: str) -> int | None:
    """Return the number of the segment that a sealed file was made of, None for one that was merged.

    A file that was repaired has a number that is no segment's.
    """
    found = _OF_SEGMENT.search(path)
    return None if found is None else int(found[1])


def _table_of(path: Path, name: str) -> str:
    _check_inside(path, name)
    found = _PATH.fullmatch(name)
    if found is None:
        raise StoreError(f"{str(path)!r} names {name!r}, which no recorder writes; do not trust its other files")
    return found["table"]


def _check_inside(path: Path, name: str) -> None:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or ":" in name or "\0" in name:
        raise StoreError(f"{str(path)!r} names {name!r}, which is outside the recording; do not trust its other files")


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


def _version() -> str:
    try:
        return importlib.metadata.version("pmlive")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
