"""The price of a token over time: best bid and ask, their middle, trades, and what cannot be trusted."""

import polars as pl

from pmlive.widgets.views.common import GapView, Numbers, flags, gap_view, milliseconds, numbers, places

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
    quoted, traded = places(prices, token_id, _POINTS), places(trades, token_id, _TRADES)
    return {
        "label": label,
        "doubt": doubt,
        "now": now,
        "window": window,
        "times": milliseconds(prices, "ts_recv", quoted),
        "bids": numbers(prices, "best_bid", quoted),
        "asks": numbers(prices, "best_ask", quoted),
        "mids": numbers(prices, "mid", quoted),
        "trade_times": milliseconds(trades, "ts_recv", traded),
        "trade_prices": numbers(trades, "price", traded),
        "trade_sizes": numbers(trades, "size", traded),
        "trade_buys": flags(trades, "side", traded, "buy"),
        **gap_view(gaps, token_id),
    }
