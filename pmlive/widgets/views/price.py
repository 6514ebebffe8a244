"""The price of a token over time: best bid and ask, their middle, trades, and what cannot be trusted."""

import polars as pl

from pmlive.widgets.views.common import GapView, Numbers, columns, gap_view, milliseconds, numbers

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
    times, bids, asks, mids = columns(prices, token_id, _POINTS, "ts_recv", "best_bid", "best_ask", "mid")
    traded, at, sizes, sides = columns(trades, token_id, _TRADES, "ts_recv", "price", "size", "side")
    return {
        "label": label,
        "doubt": doubt,
        "now": now,
        "window": window,
        "times": milliseconds(times),
        "bids": numbers(bids),
        "asks": numbers(asks),
        "mids": numbers(mids),
        "trade_times": milliseconds(traded),
        "trade_prices": numbers(at),
        "trade_sizes": numbers(sizes),
        "trade_buys": numbers(sides == "buy"),
        **gap_view(gaps, token_id),
    }
