"""What the readers of vendors' files share: the rows that are asked for, the scan of a parquet file, and its errors."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import polars as pl

from pmlive.errors import StoreError
from pmlive.tables import SCHEMAS

__all__ = ["Wanted", "collected", "ladders", "microseconds", "of_tokens", "scanned", "wanted_tokens"]

# One text, several, or None for all.
Wanted: TypeAlias = str | Iterable[str] | None

_MAGIC = b"PAR1"
_TIME = SCHEMAS["trades"]["ts_event"]


def wanted_tokens(tokens: Wanted) -> list[str] | None:
    """Return the token ids that are asked for; None for all.

    Raises:
        ValueError: there is none, or a text is no token id.
    """
    if tokens is None:
        return None
    asked = [tokens] if isinstance(tokens, str) else list(tokens)
    if not asked:
        raise ValueError("tokens is empty; name a token, or leave it out for all")
    wrong = next((token for token in asked if not token.isdecimal()), None)
    if wrong is not None:
        raise ValueError(f"{wrong[:80]!r} is no token id, a text of digits; a market has them: market.tokens.values()")
    return asked


def of_tokens(rows: pl.LazyFrame, column: str, tokens: list[str] | None) -> pl.LazyFrame:
    """Return the rows of the tokens that are asked for."""
    return rows if tokens is None else rows.filter(pl.col(column).is_in(tokens))


def scanned(file: Path, vendor: str, *, index: str | None = None) -> pl.LazyFrame:
    """Scan a parquet file of a vendor, with the number of each row if ``index`` names a column for it.

    Raises:
        StoreError: it cannot be opened, or is not a whole parquet file.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            begins = opened.read(len(_MAGIC))
            opened.seek(max(size - len(_MAGIC), 0))
            ends = opened.read()
    except OSError as error:
        raise StoreError(f"{str(file)!r} cannot be read: {error}") from error
    if begins != _MAGIC:
        raise StoreError(
            f"{str(file)!r} ({size:,} bytes) is not a parquet file; {vendor} may have none of this name, and its "
            "answer was kept instead: look into it, or fetch it again"
        )
    if ends != _MAGIC:
        raise StoreError(f"{str(file)!r} ({size:,} bytes) ends too early; its download broke off: fetch it again")
    scan = pl.scan_parquet(file, glob=False, hive_partitioning=False, row_index_name=index)
    try:
        scan.collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise StoreError(f"{str(file)!r} is damaged; fetch it again: {_first_line(error)}") from error
    return scan


def collected(rows: pl.LazyFrame, file: Path, vendor: str) -> pl.DataFrame:
    """Return the rows of a scan.

    Raises:
        StoreError: the file is damaged, or has a value that its format does not allow.
    """
    try:
        return rows.collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise StoreError(
            f"{str(file)!r} is damaged, or has a value that files of {vendor} do not have; fetch it again: "
            f"{_first_line(error)}"
        ) from error


def microseconds(column: str, columns: pl.Schema) -> pl.Expr:
    """Return a column of microseconds since 1970 as times of a recording; what is no number is null."""
    told = pl.col(column)
    # Floating point where some are null: a double holds whole microseconds until the year 2255.
    return ((told.fill_nan(None) if columns[column].is_float() else told).cast(pl.Int64) * 1_000).cast(_TIME)


def ladders(levels: pl.Expr, *, falling: bool) -> tuple[pl.Expr, pl.Expr]:
    """Return the prices and the sizes of lists of levels, which have ``price`` and ``size``, the best price first."""
    prices, sizes = (levels.list.eval(pl.element().struct.field(name).cast(pl.Float64)) for name in ("price", "size"))
    best_first = prices.list.eval(pl.element().arg_sort(descending=falling))
    return prices.list.gather(best_first), sizes.list.gather(best_first)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
