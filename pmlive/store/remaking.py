"""A recording that is made anew from the raw frames of another."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import msgspec
import polars as pl

from pmlive.errors import StoreError
from pmlive.store import _files, parquet, raw, wal
from pmlive.store.manifest import MANIFEST, Manifest, SealedFile

__all__ = ["Remake"]


class Remake:
    """A new recording in a folder that is empty or not there; it is one once ``finish`` has written its manifest.

    Raises:
        StoreError: the folder holds something.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StoreError(f"{str(folder)!r} is not an empty folder; choose another one")
        _files.make_folder(folder)
        _files.make_folder(folder / wal.WAL, folder)
        self._folder = folder
        self._files: list[SealedFile] = []

    def add(self, source: Path, file: SealedFile, tables: Mapping[str, pl.DataFrame]) -> None:
        """Copy a sealed file of raw records as it is, and write the tables that were made of it."""
        final = self._folder / file.path
        _files.make_folder(final.parent, self._folder)
        self._copy(source / file.path, source, final)
        raw.check(final, self._folder, file.sha256)
        self._files.append(file)
        name = PurePosixPath(file.path)
        for table, frame in sorted(tables.items()):
            if frame.height:
                stem = name.name.removesuffix(raw.SUFFIX)
                self._write(f"{table}/{name.parent.name}/{stem}.parquet", table, parquet.join(table, [frame]))

    def copy_log(self, source: Path, paths: Iterable[Path]) -> None:
        """Copy what is not sealed yet."""
        for path in paths:
            self._copy(path, source, self._folder / wal.WAL / path.name)

    def _copy(self, path: Path, source: Path, final: Path) -> None:
        with (
            _files.opened(path, source) as old,
            os.fdopen(_files.create(final, self._folder), "wb") as new,
        ):
            shutil.copyfileobj(old, new)

    def finish(self, like: Manifest) -> None:
        """Write the manifest: that of the other recording, with the files that were made."""
        manifest = msgspec.structs.replace(like, files=self._files, replaced=[])
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        path = self._folder / MANIFEST
        _files.replace(_files.write_aside(path, self._folder, data), path, self._folder)
        _files.sync_folder(self._folder, self._folder)

    def _write(self, path: str, table: str, frame: pl.DataFrame) -> None:
        final = self._folder / path
        _files.make_folder(final.parent, self._folder)
        encoded = parquet.encode(table, frame)
        _files.replace(_files.write_aside(final, self._folder, encoded.data), final, self._folder)
        fields = {name: getattr(encoded, name) for name in encoded.__struct_fields__ if name != "data"}
        sha256 = hashlib.sha256(encoded.data).hexdigest()
        self._files.append(SealedFile(path=path, table=table, bytes=len(encoded.data), sha256=sha256, **fields))
