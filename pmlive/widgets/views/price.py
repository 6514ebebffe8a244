"""The price of a token over time: best bid and ask, their middle, trades, and what cannot be trusted."""

import polars as pl

from pmlive.widgets.views.common import GapView, Numbers, gap_view, milliseconds, nanoseconds, number, rows

__all__ = ["PriceView", "price_view"]

_POINTS = 50_000
_TRADES = 5_000


class PriceView(GapView):
    """Prices hold from their time to the next; where a side is empty they are NaN. ``doubt`` says why it greys.

    The chart ends at ``now``, or at the last price, and is ``window`` milliseconds long, or as long as there is to show
    where that is 0.
    """

    label: str
    doubt: str
    now: float
    window: float
    times: Numbers
    bids: Numbers
    asks: Numbers
    mids: Numbers
    trade_times: Numbers
    trade_prices: Numbers
    trade_sizes: Numbers
    # 1 where the taker bought.
    trade_buys: Numbers


def price_view(  # each is by name
    prices: pl.DataFrame,
    trades: pl.DataFrame,
    gaps: pl.DataFrame,
    *,
    token_id: str,
    label: str,
    now: float,
    window: float = 0.0,
    doubt: str = "",
) -> PriceView:
    """Show the last prices and trades of a token; times are in milliseconds."""
    its = pl.col("token_id") == token_id
    quoted = rows(prices, its, _POINTS, nanoseconds("ts_recv"), *map(number, ("best_bid", "best_ask", "mid")))
    bought = (pl.col("side") == "buy").cast(pl.Float64)
    traded = rows(trades, its, _TRADES, nanoseconds("ts_recv"), *map(number, ("price", "size")), bought)
    return {
        "label": label,
        "doubt": doubt,
        "now": now,
        "window": window,
        "times": milliseconds(quoted["ts_recv"]),
        "bids": quoted["best_bid"].to_numpy(),
        "asks": quoted["best_ask"].to_numpy(),
        "mids": quoted["mid"].to_numpy(),
        "trade_times": milliseconds(traded["ts_recv"]),
        "trade_prices": traded["price"].to_numpy(),
        "trade_sizes": traded["size"].to_numpy(),
        "trade_buys": traded["side"].to_numpy(),
        **gap_view(gaps, token_id),
    }
