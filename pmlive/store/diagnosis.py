"""The diagnosis of a read that failed: which table is damaged or is not as it states, and what to do.

Readers trust what is listed of a table and what its footer states, since checking that takes as long as reading all of
it. Where that trust was wrong, something fails: polars, or code of ours that finds no row, or null where there is
always a value. Only then the tables are checked, so that the error names the file and not the line that failed.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import polars as pl

from pmlive.errors import AuthError, BookError, FeedError, StoreError, UnknownMarketError
from pmlive.store.manifest import SealedFile, read_manifest
from pmlive.store.reader import advice, problem_of
from pmlive.tables import STORED

__all__ = ["collect", "diagnosed"]

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
