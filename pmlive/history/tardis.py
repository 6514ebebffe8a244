"""Files of Tardis: its CSV of trades and of book changes, as frames with the columns of a recording.

The format is that of docs.tardis.dev/downloadable-csv-files/data-types: times are microseconds since 1970, a symbol is
a token id, and an amount is in shares. A file has no hashes, stated best prices, opening books of one frame or gaps,
from which a recording proves itself, so no recording is made of it.
"""

from pathlib import Path

import polars as pl

from pmlive.errors import StoreError
from pmlive.history.vendors import Wanted, collected, microseconds, of_tokens, wanted_tokens
from pmlive.tables import SCHEMAS

__all__ = ["read_tardis"]

_COMMON = ("exchange", "symbol", "timestamp", "local_timestamp")
_TRADES = (*_COMMON, "id", "side", "price", "amount")
_BOOK = (*_COMMON, "is_snapshot", "side", "price", "amount")
_EXCHANGE = "polymarket"
_TEXTS: dict[str, type[pl.DataType]] = {
    "exchange": pl.String,
    "symbol": pl.String,
    "timestamp": pl.Int64,
    "local_timestamp": pl.Int64,
    "id": pl.String,
    "side": pl.String,
    "is_snapshot": pl.Boolean,
    "price": pl.Float64,
    "amount": pl.Float64,
}


def read_tardis(path: str | Path, *, tokens: Wanted = None) -> pl.DataFrame:
    """Read a file of Tardis, ``trades`` or ``incremental_book_L2``, as ``.csv`` or ``.csv.gz``.

    Trades have the columns ``ts_event``, ``ts_recv``, ``token_id``, ``price``, ``size``, ``side`` (the taker's, null
    where it is unknown), ``transaction_hash`` (Tardis's ``id``, null where there is none) and ``source``. Changes of
    books have ``side`` (``bid`` or ``ask``), ``size`` (the new total at the price; 0 removes the level) and
    ``is_snapshot``: the first of such rows after others replaces the whole book. ``ts_recv`` is by the clock of Tardis.
    ``source`` is ``"tardis"``.

    What a recording has and these lack: ``seq``, ``conn``, checks and gaps. Nothing says whether a change is missing.

    Args:
        path: the file.
        tokens: leave out the rows of other tokens; one token id or several, as a market's ``tokens.values()``. Those
            that are not there have no rows.

    Raises:
        ValueError: a text is no token id.
        StoreError: the file cannot be read, has other columns, or is of another venue.
    """
    file, asked = Path(path), wanted_tokens(tokens)
    try:
        frame = pl.read_csv(file, schema_overrides=_TEXTS)
    except pl.exceptions.NoDataError:
        raise StoreError(f"{str(file)!r} is empty: Tardis has no data of its day") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{str(file)!r} cannot be read as CSV of Tardis: {error}") from error
    columns = tuple(frame.columns)
    if columns not in (_TRADES, _BOOK):
        raise StoreError(
            f"{str(file)!r} has the columns {', '.join(columns)[:200]}; expected those of Tardis's trades "
            f"({', '.join(_TRADES)}) or incremental_book_L2 ({', '.join(_BOOK)})"
        )
    others = frame.filter(pl.col("exchange").ne_missing(_EXCHANGE))["exchange"]
    if len(others):
        raise StoreError(f"{str(file)!r} is of the exchange {str(others[0])[:60]!r}, not of {_EXCHANGE!r}")
    rows = of_tokens(frame.lazy(), "symbol", asked)
    return collected(rows.select(_trades() if columns == _TRADES else _changes()), file, "Tardis")


def _times() -> list[pl.Expr]:
    return [
        # Where the venue stated no time, both are equal.
        microseconds(theirs, pl.Schema(_TEXTS)).alias(ours)
        for theirs, ours in (("timestamp", "ts_event"), ("local_timestamp", "ts_recv"))
    ]


def _trades() -> list[pl.Expr]:
    return [
        *_times(),
        pl.col("symbol").alias("token_id"),
        pl.col("price"),
        pl.col("amount").alias("size"),
        pl.col("side").cast(SCHEMAS["trades"]["side"], strict=False),
        pl.col("id").alias("transaction_hash"),
        pl.lit("tardis").alias("source"),
    ]


def _changes() -> list[pl.Expr]:
    return [
        *_times(),
        pl.col("symbol").alias("token_id"),
        pl.col("side").cast(SCHEMAS["book_deltas"]["side"]),
        pl.col("price"),
        pl.col("amount").alias("size"),
        pl.col("is_snapshot"),
        pl.lit("tardis").alias("source"),
    ]
