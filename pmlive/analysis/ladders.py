"""Measures of many books at once: frames of quotes (``prices``) and of ladders (``depth``, ``book_snapshots``).

The definitions are those of the functions on one book. Ladders are list columns with the best level first. Where a side
is empty, what needs both sides is null.
"""

import polars as pl

from pmlive.analysis.book import TakerSide

__all__ = ["ladder_measures", "quote_measures", "slippage_by_dollars", "slippage_by_shares"]

_DUST = 1e-9
_LADDERS = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")


def quote_measures(prices: pl.DataFrame) -> pl.DataFrame:
    """Add ``spread_cents``, ``spread_bps``, ``weighted_mid`` and ``imbalance`` to quotes.

    ``spread_cents = 100 * (a - b)``; ``spread_bps = 10000 * (a - b) / mid``;
    ``weighted_mid = (a * Qb + b * Qa) / (Qb + Qa)``; ``imbalance = (Qb - Qa) / (Qb + Qa)``, with the best prices ``b``
    and ``a`` (dollars a share) and their sizes ``Qb`` and ``Qa`` (shares).

    >>> quote = {"best_bid": 0.62, "best_bid_size": 1250.0, "best_ask": 0.63, "best_ask_size": 980.0}
    >>> empty = {"best_bid": None, "best_bid_size": None, "best_ask": 0.63, "best_ask_size": 980.0}
    >>> quote_measures(pl.DataFrame([quote, empty])).select("weighted_mid", "imbalance").rows()
    [(0.6256053811659192, 0.1210762331838565), (None, None)]
    """
    return prices.with_columns(
        **_quote(pl.col("best_bid"), pl.col("best_bid_size"), pl.col("best_ask"), pl.col("best_ask_size"))
    )


def ladder_measures(ladders: pl.DataFrame, *, levels: int | None = 1, cents: float = 2.0) -> pl.DataFrame:
    """Measure every book of a frame of ladders.

    The list columns give way to ``mid`` and ``spread`` (dollars a share), ``spread_cents``, ``spread_bps``,
    ``weighted_mid``, ``imbalance`` (of the best levels, None: of all), ``depth_bid`` and ``depth_ask`` (shares no
    further than so many cents from the mid, the edge included); the other columns stay.

    Raises:
        ValueError: ``levels`` is below 1.
    """
    if levels is not None and levels < 1:
        raise ValueError(f"levels is at least 1, or None for all, not {levels!r}")
    bid, ask = (pl.col(f"{side}_prices").list.first() for side in ("bid", "ask"))
    bid_size, ask_size = (pl.col(f"{side}_sizes").list.first() for side in ("bid", "ask"))
    bids, asks = (_head(pl.col(f"{side}_sizes"), levels).list.sum() for side in ("bid", "ask"))
    best = _quote(bid, bid_size, ask, ask_size)
    best["imbalance"] = pl.when(bid.is_not_null() & ask.is_not_null()).then((bids - asks) / (bids + asks))
    rows = ladders.with_columns(mid=(bid + ask) / 2, spread=ask - bid, **best).with_row_index("_row")
    for side in ("bid", "ask"):
        rows = rows.join(_near(rows, side, cents), on="_row", how="left")
    return rows.sort("_row").drop("_row", *_LADDERS)


def slippage_by_shares(ladders: pl.DataFrame, *, side: TakerSide, shares: float) -> pl.DataFrame:
    """Walk every book of a frame until a number of shares is bought or sold, before fees.

    The list columns give way to ``filled_shares``, ``filled_dollars``, ``vwap`` (null where nothing is filled),
    ``slippage`` (dollars a share against the mid, above 0 where it costs), ``slippage_bps`` (1/10000 of the mid) and
    ``partial``: the book holds less than was asked for, and the numbers are of what it holds.

    Raises:
        ValueError: ``shares`` is not above 0, or ``side`` is neither ``"buy"`` nor ``"sell"``.
    """
    return _walk(ladders, side, shares, pl.lit(1.0))


def slippage_by_dollars(ladders: pl.DataFrame, *, side: TakerSide, dollars: float) -> pl.DataFrame:
    """Walk every book of a frame until an amount of dollars is spent or received; as ``slippage_by_shares``.

    Raises:
        ValueError: ``dollars`` is not above 0, or ``side`` is neither ``"buy"`` nor ``"sell"``.
    """
    return _walk(ladders, side, dollars, pl.col("_price"))


def _quote(bid: pl.Expr, bid_size: pl.Expr, ask: pl.Expr, ask_size: pl.Expr) -> dict[str, pl.Expr]:
    return {
        "spread_cents": 100 * (ask - bid),
        "spread_bps": 10_000 * (ask - bid) / ((bid + ask) / 2),
        "weighted_mid": (ask * bid_size + bid * ask_size) / (bid_size + ask_size),
        "imbalance": (bid_size - ask_size) / (bid_size + ask_size),
    }


def _head(sizes: pl.Expr, levels: int | None) -> pl.Expr:
    return sizes if levels is None else sizes.list.head(levels)


def _near(rows: pl.DataFrame, side: str, cents: float) -> pl.DataFrame:
    distance = (pl.col("_price") - pl.col("mid")).abs()
    near = pl.col("_size").filter(distance <= cents / 100 + _DUST).sum()
    known = pl.col("mid").first().is_not_null()
    return _levels(rows, side, "mid").group_by("_row").agg(pl.when(known).then(near).alias(f"depth_{side}"))


def _levels(rows: pl.DataFrame, side: str, *others: str) -> pl.DataFrame:
    listed = rows.select("_row", *others, _price=f"{side}_prices", _size=f"{side}_sizes")
    return listed.explode("_price", "_size")


def _walk(ladders: pl.DataFrame, side: TakerSide, wanted: float, counts: pl.Expr) -> pl.DataFrame:
    if side not in {"buy", "sell"}:
        raise ValueError(f"side is 'buy' or 'sell', not {side!r}")
    if not wanted > 0:
        raise ValueError(f"the amount is above 0, not {wanted!r}")
    rows = ladders.with_row_index("_row")
    whole = pl.col("_size") * counts
    before = whole.cum_sum().over("_row") - whole
    taken = (wanted - before).clip(0.0, whole) / counts
    filled = (
        _levels(rows, "ask" if side == "buy" else "bid")
        .with_columns(_taken=taken, _whole=whole)
        .group_by("_row")
        .agg(
            filled_shares=pl.col("_taken").sum(),
            filled_dollars=(pl.col("_taken") * pl.col("_price")).sum(),
            partial=pl.col("_whole").sum() < wanted * (1 - _DUST),
        )
    )
    whole = rows.join(filled, on="_row", how="left").sort("_row")
    nothing = (pl.col("filled_shares", "filled_dollars").fill_null(0.0), pl.col("partial").fill_null(value=True))
    return _with_slippage(whole.with_columns(nothing), side).drop("_row", *_LADDERS)


def _with_slippage(rows: pl.DataFrame, side: TakerSide) -> pl.DataFrame:
    mid = (pl.col("bid_prices").list.first() + pl.col("ask_prices").list.first()) / 2
    vwap = pl.when(pl.col("filled_shares") > 0).then(pl.col("filled_dollars") / pl.col("filled_shares"))
    slippage = (vwap - mid) * (1 if side == "buy" else -1)
    added = rows.with_columns(vwap=vwap, slippage=slippage, slippage_bps=10_000 * slippage / mid)
    return added.select(pl.exclude("partial"), "partial")
