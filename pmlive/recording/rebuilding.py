"""Tables made anew from raw records, with the code of today."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from pmlive.pipeline.journal import rebuild
from pmlive.recording.contents import Contents, laid_out
from pmlive.store import records
from pmlive.store.maintenance import RebuiltRecording
from pmlive.store.reader import log_files, read_raw
from pmlive.tables import SCHEMAS, STORED

__all__ = ["rebuilt", "rebuilt_into", "tables_of"]


def rebuilt(folder: Path) -> dict[str, pl.DataFrame]:
    """Make every table of all records."""
    return tables_of(rebuild(records(folder)))


def tables_of(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Give every stored table, those without rows too, with its columns in order and its rows in order of arrival."""
    return {table: laid_out(table, frames.get(table, SCHEMAS[table].to_frame())) for table in STORED}


def rebuilt_into(contents: Contents, into: Path) -> None:
    """Write a recording anew, one segment after the other.

    Raises:
        StoreError: a file of raw records is damaged or missing, or the new folder holds something.
    """
    fresh = RebuiltRecording(into)
    for file in contents.files("raw"):
        fresh.add(contents.folder, file, tables_of(rebuild(read_raw(contents.folder, file))))
    fresh.copy_log(contents.folder, log_files(contents.folder, contents.manifest))
    fresh.finish(contents.manifest)
