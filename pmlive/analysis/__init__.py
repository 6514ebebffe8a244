"""Analyses as pure functions: of one book, of frames of the tables, of forecasts and outcomes.

Times are our own clock's (``ts_recv``), prices are dollars a share, sizes are shares. A function over time takes frames
of any number of tokens, and the rows of the table ``gaps``. What a gap touches is measured without the time of the gap
(``touched="exclude"``), flagged with nulls (``"flag"``) or left out (``"drop"``), never averaged over. A function that
needs the sign of trades asks for its source, which the result names. While a side of a book is empty there is no mid,
and none is made up. Results have ``slug`` and ``outcome`` of a token where the frames that they are made of have them.

Figures of what they return are in ``pmlive.analysis.plots``, which is imported by name, since it needs matplotlib.

# Cookbook

Ten questions, each in five lines at most. The recordings are the simulated ones that come with pmlive; put yours there.

```python
import polars as pl

import pmlive as pm
from pmlive import analysis as an

night = pm.open_recording(pm.sample("evening"))
updown = pm.open_recording(pm.sample("updown"))
BILL, CHAIR = "will-the-river-bill-pass-tonight", "who-will-be-chosen-as-the-new-chair"
FIVE = "btc-updown-5m-1784909700"
NEWS = pm.sample("evening").with_suffix(".csv")
```

**How wide is the spread, hour by hour?** A mean over the time during which each quote stood; the time of gaps has no
weight, and `covered` says what was left. `plots.spread_by_hour(night.prices(every="1s"))` draws it.

```python
spreads = an.time_weighted_mean(night.prices, "1h", values=["spread"], gaps=night.gaps)
```

**What does news do to it?** Events are rows with a time, a slug and an outcome; beside their median stands that of as
many random times of the same tokens. `plots.event_study_plot(study, "spread")`.

```python
news = pl.read_csv(NEWS, try_parse_dates=True).rename({"time": "ts_recv", "market": "slug"})
study = an.event_study(night.prices, news, ["spread"], gaps=night.gaps)
```

**Does imbalance at the top foretell the next ten seconds?** The changes overlap, which `lags` allows for.

```python
quotes = an.quote_measures(night[BILL, "Yes"].prices)
seconds = an.sample(quotes, "1s", values=["mid", "imbalance"], gaps=night.gaps)
moves = an.forward_changes(seconds, "10s", gaps=night.gaps)
fit = an.fit_line(moves, x="imbalance", y="change", lags=9)
```

**What does an order cost by its size?** In books without a mid, as in a gap, nothing is counted.
`plots.impact_plot(ladders)`.

```python
ladders = night.depth(BILL, outcome="Yes", every="1s", levels=50)
costs = an.slippage_curve(ladders, [10, 100, 1000])
```

**What would a plain market maker have earned?** Under the assumptions that `Simulation` states; `later` shows whether
the price went against what was filled.

```python
market = night.markets[0]
maker = an.JoinBest(market.token_ids[0], size=20, limit=100)
made = an.simulate(night.events(market.token_ids), maker, latency="50ms", markets=[market])
profit = made.pnl()
later = an.markouts(made.fills, night.prices, ["1s", "10s", "1m"], gaps=night.gaps)
```

**Did prices come true?** One outcome of each market, two minutes before the recorder was told how it ended.
`plots.calibration_plot(table)`.

```python
ends = updown.outcomes().filter(outcome="Up")
known = an.forecasts(updown.prices, ends, ["2m"], gaps=updown.gaps).drop_nulls("forecast")
scores = an.calibration(known["forecast"], known["outcome"])
table = an.reliability_table(known["forecast"], known["outcome"], events=known["market"])
```

**Who moves first?** A lag below 0 says that the book leads. `plots.lead_lag_plot(curve, names=("bitcoin", "its book"))`
draws it.

```python
reference = updown.reference_prices.select("ts_recv", "value")
book, gaps = updown[FIVE, "Up"].prices.select("ts_recv", "mid"), updown[FIVE, "Up"].gaps
lags = [f"{250 * k}ms" for k in range(-16, 17)]
curve = an.cross_correlation(reference, book, lags, step="250ms", gaps=gaps)
```

**Do the markets of an event add up?** Best prices of all legs at once, after fees, null while one is not known.
`plots.set_sums_plot(sums)`.

```python
chair = [market for market in night.markets if market.event_slug == CHAIR]
sums = an.event_sums(night.prices, chair, gaps=night.gaps)
free = an.arbitrages(sums, "net")
```

**How good are signs that are guessed from prices?** Each method against each other, the feed among them.

```python
agreement = an.sign_agreement(night.trades, night.prices, gaps=night.gaps)
```

**How much rests near the mid as a market comes to its end?** Shares within two cents, up to the resolution.

```python
books = an.ladder_measures(updown.depth, cents=2)
ends = updown.outcomes().select("token_id", ts_recv="resolved_at")
window = an.EventWindow(before="5m", after="0s", step="30s")
near = an.align(books, ends, ["depth_bid", "depth_ask"], window=window, gaps=updown.gaps)
depth = near.group_by("offset").agg(pl.col("depth_bid", "depth_ask").median()).sort("offset")
```
"""

from pmlive.analysis._intervals import Every, Touched, broken, covered, drop_touched, mark, touched_by, with_resolutions
from pmlive.analysis.arbitrage import (
    Edge,
    Fees,
    FeesByToken,
    PricedMarket,
    arbitrages,
    episodes,
    event_sums,
    fee_per_share,
    fees_by_token,
    mirror,
    neg_risk_sums,
    set_sums,
    taker_fee,
)
from pmlive.analysis.bars import OhlcArrays, ohlc, ohlc_arrays, quote_bars, time_weighted_mean, trade_bars
from pmlive.analysis.book import (
    Amount,
    Depth,
    Fill,
    Levels,
    TakerSide,
    depth_within,
    fill_dollars,
    fill_shares,
    imbalance,
    ladder_measures,
    mid,
    quote_measures,
    slippage_by_dollars,
    slippage_by_shares,
    slippage_curve,
    spread_bps,
    spread_cents,
    top_share,
    weighted_mid,
)
from pmlive.analysis.calibration import (
    Calibration,
    CalibrationSlope,
    brier,
    brier_skill,
    calibration,
    calibration_slope,
    forecasts,
    log_loss,
    reliability_table,
)
from pmlive.analysis.eventstudy import EventWindow, Measure, align, event_study, placebos
from pmlive.analysis.flow import (
    Horizon,
    KyleLambda,
    amihud,
    kyle_lambda,
    kyle_windows,
    ofi_slope,
    order_flow_events,
    order_flow_imbalance,
    roll_spread,
    roll_windows,
    signed,
    trade_costs,
    trade_flow,
    vpin,
    with_mids,
)
from pmlive.analysis.leadlag import (
    HayashiYoshida,
    RefreshTimeCorr,
    cross_correlation,
    hayashi_yoshida,
    lead_lag,
    refresh_time_corr,
)
from pmlive.analysis.marketmaking import JoinBest, Mark, MarketEvent, Order, Orders, Simulation, markouts, simulate
from pmlive.analysis.regression import Fit, fit_line
from pmlive.analysis.signs import SignMethod, TradeBars, classify_trades, sign_agreement
from pmlive.analysis.volatility import (
    Scale,
    bipower_variation,
    forward_changes,
    martingale_check,
    realised_variance,
    sample,
    sample_mids,
    signature,
    variance_windows,
)

__all__ = [
    "Amount",
    "Calibration",
    "CalibrationSlope",
    "Depth",
    "Edge",
    "EventWindow",
    "Every",
    "Fees",
    "FeesByToken",
    "Fill",
    "Fit",
    "HayashiYoshida",
    "Horizon",
    "JoinBest",
    "KyleLambda",
    "Levels",
    "Mark",
    "MarketEvent",
    "Measure",
    "OhlcArrays",
    "Order",
    "Orders",
    "PricedMarket",
    "RefreshTimeCorr",
    "Scale",
    "SignMethod",
    "Simulation",
    "TakerSide",
    "Touched",
    "TradeBars",
    "align",
    "amihud",
    "arbitrages",
    "bipower_variation",
    "brier",
    "brier_skill",
    "broken",
    "calibration",
    "calibration_slope",
    "classify_trades",
    "covered",
    "cross_correlation",
    "depth_within",
    "drop_touched",
    "episodes",
    "event_study",
    "event_sums",
    "fee_per_share",
    "fees_by_token",
    "fill_dollars",
    "fill_shares",
    "fit_line",
    "forecasts",
    "forward_changes",
    "hayashi_yoshida",
    "imbalance",
    "kyle_lambda",
    "kyle_windows",
    "ladder_measures",
    "lead_lag",
    "log_loss",
    "mark",
    "markouts",
    "martingale_check",
    "mid",
    "mirror",
    "neg_risk_sums",
    "ofi_slope",
    "ohlc",
    "ohlc_arrays",
    "order_flow_events",
    "order_flow_imbalance",
    "placebos",
    "quote_bars",
    "quote_measures",
    "realised_variance",
    "refresh_time_corr",
    "reliability_table",
    "roll_spread",
    "roll_windows",
    "sample",
    "sample_mids",
    "set_sums",
    "sign_agreement",
    "signature",
    "signed",
    "simulate",
    "slippage_by_dollars",
    "slippage_by_shares",
    "slippage_curve",
    "spread_bps",
    "spread_cents",
    "taker_fee",
    "time_weighted_mean",
    "top_share",
    "touched_by",
    "trade_bars",
    "trade_costs",
    "trade_flow",
    "variance_windows",
    "vpin",
    "weighted_mid",
    "with_mids",
    "with_resolutions",
]
