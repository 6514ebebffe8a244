"""Files of Telonex: a day of one token and channel, as frames with the columns of a recording's tables.

Its columns are those that the notebooks of github.com/telonex/research use (February 2026) and that other public
readers of its files state (github.com/evan-kolberg/prediction-market-backtesting of May 2026, and later ones), two at
least for each. Times are microseconds since 1970, prices and sizes are texts. ``crypto_prices`` and the data sets of
markets and tags are not read. A file has no hashes, connections, checks or gaps, from which a recording proves itself,
so no recording is made of it.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from pmlive.errors import StoreError
from pmlive.history.vendors import Wanted, collected, ladders, microseconds, of_tokens, scanned, wanted_tokens
from pmlive.tables import LABELS, SCHEMAS

__all__ = ["read_telonex"]

_VENDOR = "Telonex"
_EXCHANGE = "polymarket"
_TIMES = ("timestamp_us", "local_timestamp_us", "asset_id")
# The columns by which a channel is known, and which its rows need; others may be there, or come later.
_CHANNELS: dict[str, tuple[str, ...]] = {
    "onchain_fills": (
        "block_timestamp_us",
        "asset_id",
        "price",
        "amount",
        "maker",
        "taker",
        "taker_side",
        "taker_asset_id",
    ),
    "trades": (*_TIMES, "price", "size", "side", "trade_id", "origin_asset_id"),
    "quotes": (*_TIMES, "bid_price", "bid_size", "ask_price", "ask_size"),
    "book_snapshot_full": (*_TIMES, "bids", "asks"),
    "book_snapshot_5 or _25": (*_TIMES, "bid_price_0", "bid_size_0", "ask_price_0", "ask_size_0"),
}
_OPPOSITE = {"buy": "sell", "sell": "buy"}


def read_telonex(path: str | Path, *, tokens: Wanted = None) -> pl.DataFrame:
    """Read a parquet file of Telonex, whose columns say of which channel it is.

    All have ``ts_event``, ``token_id``, ``slug``, ``outcome``, ``market`` and ``source``, which is ``"telonex"``, and
    ``ts_recv``. ``trades`` have ``price``, ``size``, ``side``, ``trade_id`` and ``origin_token_id``; ``onchain_fills``,
    one of each maker's order, have ``maker``, ``taker`` and ``transaction_hash`` instead of ``trade_id``, and the
    block's time as ``ts_event`` alone. ``quotes`` have ``best_bid``, ``best_bid_size``, ``best_ask``,
    ``best_ask_size``, ``mid`` and ``spread``. Books have ``bid_prices``, ``bid_sizes``, ``ask_prices`` and
    ``ask_sizes``, the best first: the top only, where the channel is ``book_snapshot_5`` or ``_25``.

    A trade is in the files of both outcomes, at the price of each. ``origin_token_id`` is the token that the taker
    traded: rows where it is ``token_id`` have each trade once. ``side`` is the taker's seen from ``token_id``: of
    fills, for which Telonex states it of the other token, turned round here; of trades, as the file has it.

    What a recording has and these lack: ``seq``, ``conn``, hashes, checks, gaps, and the changes between books. Times
    are microseconds, and ``ts_recv`` is by the clock of Telonex. Nothing says whether a row is missing. Telonex has
    files without rows, of days without any, and they are frames without rows.

    Args:
        path: the file.
        tokens: leave out the rows of other tokens; one token id or several, as a market's ``tokens.values()``. Those
            that are not there have no rows.

    Raises:
        ValueError: a text is no token id.
        StoreError: the file is not there, has other columns, is of another venue, or is damaged.
    """
    file, asked = Path(path), wanted_tokens(tokens)
    rows = scanned(file, _VENDOR)
    columns = rows.collect_schema()
    channel = _channel(file, columns)
    _check_exchange(file, rows)
    source = pl.lit(_VENDOR.lower()).alias("source")
    made = of_tokens(rows, "asset_id", asked).select(*_common(columns), *_MAKERS[channel](columns), source)
    return collected(made, file, _VENDOR)


def _channel(file: Path, columns: pl.Schema) -> str:
    for channel, needed in _CHANNELS.items():
        if set(needed) <= columns.keys():
            _check_times(file, columns)
            return channel
    formats = "; ".join(f"{channel} ({', '.join(needed)})" for channel, needed in _CHANNELS.items())
    raise StoreError(
        f"{str(file)!r} has the columns {', '.join(columns)[:200] or '(none)'}; expected those of one of Telonex's "
        f"channels: {formats}. Others are not read"
    )


def _check_times(file: Path, columns: pl.Schema) -> None:
    for name, dtype in columns.items():
        if name.endswith("timestamp_us") and not (dtype.is_numeric() or dtype == pl.Null):
            raise StoreError(f"{str(file)!r} has {name} as {dtype}; in files of Telonex it is a number of microseconds")


def _check_exchange(file: Path, rows: pl.LazyFrame) -> None:
    if "exchange" not in rows.collect_schema():
        return
    exchange = pl.col("exchange").cast(pl.String)
    others = collected(rows.filter(exchange.ne_missing(_EXCHANGE)).select(exchange).head(1), file, _VENDOR)
    if len(others):
        raise StoreError(f"{str(file)!r} is of the exchange {str(others.item())[:60]!r}, not of {_EXCHANGE!r}")


def _common(columns: pl.Schema) -> list[pl.Expr]:
    block = {"block_timestamp_us": "ts_event"}
    times = block if block.keys() <= columns.keys() else {"timestamp_us": "ts_event", "local_timestamp_us": "ts_recv"}
    return [
        *(microseconds(theirs, columns).alias(ours) for theirs, ours in times.items()),
        pl.col("asset_id").cast(pl.String).alias("token_id"),
        *(_text(name, columns).cast(pl.Categorical()).alias(name) for name in LABELS),
        _text("market_id", columns).alias("market"),
    ]


def _text(name: str, columns: pl.Schema) -> pl.Expr:
    return (pl.col(name) if name in columns else pl.lit(None)).cast(pl.String)


def _number(theirs: str, ours: str) -> pl.Expr:
    # By way of text, for a column may be a dictionary, and one of nulls alone has no type.
    return pl.col(theirs).cast(pl.String).cast(pl.Float64).alias(ours)


def _trades(columns: pl.Schema) -> list[pl.Expr]:
    return [
        _number("price", "price"),
        _number("size", "size"),
        pl.col("side").cast(pl.String).cast(SCHEMAS["trades"]["side"]),
        _text("trade_id", columns),
        _text("origin_asset_id", columns).alias("origin_token_id"),
    ]


def _fills(columns: pl.Schema) -> list[pl.Expr]:
    side, traded = pl.col("taker_side").cast(pl.String), _text("taker_asset_id", columns)
    turned = side.replace_strict(_OPPOSITE, return_dtype=pl.String)
    own = pl.when(traded == _text("asset_id", columns)).then(side).when(traded.is_not_null()).then(turned)
    return [
        _number("price", "price"),
        _number("amount", "size"),
        own.cast(SCHEMAS["trades"]["side"]).alias("side"),
        traded.alias("origin_token_id"),
        _text("maker", columns),
        _text("taker", columns),
        _text("tx_hash", columns).alias("transaction_hash"),
    ]


def _quotes(_columns: pl.Schema) -> list[pl.Expr]:
    bid, ask = _number("bid_price", "best_bid"), _number("ask_price", "best_ask")
    return [
        bid,
        _number("bid_size", "best_bid_size"),
        ask,
        _number("ask_size", "best_ask_size"),
        # Rounded as in a recording, for prices have at most four decimals.
        ((bid + ask) / 2).round(6).alias("mid"),
        (ask - bid).round(6).alias("spread"),
    ]


def _whole_books(_columns: pl.Schema) -> list[pl.Expr]:
    level = pl.List(pl.Struct({"price": pl.String, "size": pl.String}))
    return _books(pl.col("bids").cast(level), pl.col("asks").cast(level))


def _tops_of_books(columns: pl.Schema) -> list[pl.Expr]:
    depth = sum(name.startswith("bid_price_") for name in columns)
    return _books(*(_levels(side, depth) for side in ("bid", "ask")))


def _levels(side: str, depth: int) -> pl.Expr:
    levels = (
        pl.struct(_number(f"{side}_price_{place}", "price"), _number(f"{side}_size_{place}", "size"))
        for place in range(depth)
    )
    return pl.concat_list(*levels).list.filter(pl.element().struct.field("price").is_not_null())


def _books(bids: pl.Expr, asks: pl.Expr) -> list[pl.Expr]:
    names = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    sides = (*ladders(bids, falling=True), *ladders(asks, falling=False))
    return [levels.alias(name) for name, levels in zip(names, sides, strict=True)]


_MAKERS: dict[str, Callable[[pl.Schema], list[pl.Expr]]] = {
    "onchain_fills": _fills,
    "trades": _trades,
    "quotes": _quotes,
    "book_snapshot_full": _whole_books,
    "book_snapshot_5 or _25": _tops_of_books,
}
