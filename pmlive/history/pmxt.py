"""Files of the archive of pmxt, version 2: an hour of all tokens, as frames with the columns of a recording's tables.

The format is that of archive.pmxt.dev/docs/v2-data-overview (of April 2026), which public readers of these files agree
with: a row is an event of the venue's market channel, in the order of market, token and time of receipt; ``bids`` and
``asks`` are JSON, lists of price and size. A file has no hashes, connections, checks or gaps, from which a recording
proves itself, and no order of arrival among tokens, so no recording is made of it.
"""

import warnings
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import polars as pl

from pmlive.errors import StoreError
from pmlive.history.shelf import HistoryWarning
from pmlive.history.vendors import Wanted, collected, ladders, of_tokens, scanned, wanted_tokens
from pmlive.tables import SCHEMAS

__all__ = ["PmxtTable", "read_pmxt"]

PmxtTable: TypeAlias = Literal["book_deltas", "book_snapshots", "trades", "market_events"]

_VENDOR = "pmxt"
_COLUMNS = (
    "timestamp_received",
    "timestamp",
    "market",
    "event_type",
    "asset_id",
    "bids",
    "asks",
    "price",
    "size",
    "side",
    "best_bid",
    "best_ask",
    "fee_rate_bps",
    "transaction_hash",
    "old_tick_size",
    "new_tick_size",
)
_TYPES = {"timestamp_received": pl.Datetime, "timestamp": pl.Datetime, "market": pl.Binary}
_EVENTS: dict[str, str] = {
    "book_deltas": "price_change",
    "book_snapshots": "book",
    "trades": "last_trade_price",
    "market_events": "tick_size_change",
}
# What each table has beside what all have.
_OWN: dict[str, tuple[str, ...]] = {
    "book_deltas": ("side", "price", "size", "best_bid", "best_ask"),
    "book_snapshots": ("bids", "asks"),
    "trades": ("price", "size", "side", "fee_rate_bps", "transaction_hash"),
    "market_events": ("old_tick_size", "new_tick_size"),
}
_BOOK_SIDES = {"BUY": "bid", "SELL": "ask"}
_SIDES = {"BUY": "buy", "SELL": "sell"}
_PAIRS = pl.List(pl.List(pl.String))


def read_pmxt(path: str | Path, table: PmxtTable, *, tokens: Wanted = None) -> pl.DataFrame:
    """Read one table of an hour of pmxt's archive, version 2: ``polymarket_orderbook_YYYY-MM-DDTHH.parquet``.

    All have ``row`` (the place in the file), ``ts_event``, ``ts_recv``, ``token_id``, ``market`` and ``source``, which
    is ``"pmxt"``. ``book_deltas`` have ``side`` (``bid`` or ``ask``), ``price``, ``size`` (the new total; 0 removes the
    level), ``best_bid`` and ``best_ask`` as the venue stated them; ``book_snapshots`` have ``bid_prices``,
    ``bid_sizes``, ``ask_prices`` and ``ask_sizes``, the best first; ``trades`` have ``price``, ``size``, the taker's
    ``side``, ``fee_rate_bps`` and ``transaction_hash``; ``market_events`` have ``kind`` and the old and new tick size.

    Rows are in the file's order: by market, token and ``ts_recv``. A token's book comes of ``pl.concat([books,
    changes], how="diagonal").sort("row")``, from a whole book on, which may be in an earlier hour. ``tokens``
    reaches into the file: a quiet token of 8 million rows took 0.1 s. Without it, allow 250 bytes a row.

    What a recording has and these lack: ``seq``, ``conn``, hashes, checks and gaps. Times are whole milliseconds, and
    ``ts_recv`` is by the clock of pmxt. The order within a millisecond and among tokens is not known. Nothing says
    whether a change is missing or there twice.

    Args:
        path: the file.
        table: which table to make of it.
        tokens: leave out the rows of other tokens; one token id or several, as a market's ``tokens.values()``. Those
            that are not there have no rows.

    Raises:
        ValueError: there is no such table, or a text is no token id.
        StoreError: the file is not there, is not one of pmxt's version 2, has no rows, or is damaged.

    Warns:
        HistoryWarning: events of a kind that is not known are in none of the tables.
    """
    if table not in get_args(PmxtTable):
        raise ValueError(f"no table {table!r} in files of pmxt; there are: {', '.join(get_args(PmxtTable))}")
    file = Path(path)
    rows = of_tokens(_opened(file), "asset_id", wanted_tokens(tokens))
    return _read(file, rows, table)


def _opened(file: Path) -> pl.LazyFrame:
    scan = scanned(file, _VENDOR, index="row")
    schema = scan.collect_schema()
    columns = schema.names()[1:]
    if "update_type" in columns:
        raise StoreError(f"{str(file)!r} is of version 1 of pmxt's archive, which is not read; fetch that of version 2")
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise StoreError(
            f"{str(file)!r} has the columns {', '.join(columns)[:200] or '(none)'}; of pmxt's version 2 it lacks "
            f"{', '.join(missing)}"
        )
    if wrong := [f"{name} as {schema[name]}" for name, dtype in _TYPES.items() if schema[name].base_type() != dtype]:
        raise StoreError(f"{str(file)!r} has {', '.join(wrong)}, which pmxt's version 2 has not: fetch pmxt's own file")
    if collected(scan.select(pl.len()), file, _VENDOR).item() == 0:
        raise StoreError(f"{str(file)!r} has no rows: pmxt's archive has nothing of this hour")
    return scan


def _read(file: Path, rows: pl.LazyFrame, table: str) -> pl.DataFrame:
    kind = pl.col("event_type").cast(pl.String)
    known = kind.is_in(list(_EVENTS.values())).fill_null(value=False)
    _tell_unknown(file, collected(rows.filter(known.not_()).select(kind), file, _VENDOR).to_series())
    made = rows.filter(kind == _EVENTS[table]).select(*_common(), *_own(table), source=pl.lit(_VENDOR))
    frame = collected(made, file, _VENDOR)
    return frame.select("row", *(name for name in SCHEMAS[table] if name in frame.columns), "source")


def _tell_unknown(file: Path, kinds: pl.Series) -> None:
    if not len(kinds):
        return
    counts = kinds.value_counts(sort=True).rows()
    told = ", ".join(f"{count:,} of {'no kind' if kind is None else repr(kind)}" for kind, count in counts[:5])
    warnings.warn(
        f"{str(file)!r} has {len(kinds):,} events of kinds that are not known, which are left out: {told}",
        HistoryWarning,
        stacklevel=4,
    )


def _common() -> list[pl.Expr]:
    schema = SCHEMAS["trades"]
    return [
        pl.col("row"),
        pl.col("timestamp").cast(schema["ts_event"]).alias("ts_event"),
        pl.col("timestamp_received").cast(schema["ts_recv"]).alias("ts_recv"),
        pl.col("asset_id").cast(pl.String).alias("token_id"),
        pl.col("market").cast(pl.String),
    ]


def _own(table: str) -> list[pl.Expr]:
    schema = SCHEMAS[table]
    if table == "book_snapshots":
        bids, asks = (ladders(_levels(side), falling=side == "bids") for side in ("bids", "asks"))
        names = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
        return [levels.alias(name) for name, levels in zip(names, (*bids, *asks), strict=True)]
    if table == "market_events":
        kind = pl.col("event_type").cast(schema["kind"]).alias("kind")
        return [kind, *(pl.col(name).cast(schema[name]) for name in _OWN[table])]
    words = _BOOK_SIDES if table == "book_deltas" else _SIDES
    side = pl.col("side").cast(pl.String).replace_strict(words, return_dtype=schema["side"])
    return [side if name == "side" else pl.col(name).cast(schema[name]) for name in _OWN[table]]


def _levels(side: str) -> pl.Expr:
    pair = pl.element()
    level = pl.struct(pair.list.get(0).alias("price"), pair.list.get(1).alias("size"))
    return pl.col(side).cast(pl.String).str.json_decode(_PAIRS).list.eval(level)
