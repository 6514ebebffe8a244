"""Analyses as pure functions: of one book, of frames of the tables, of forecasts and outcomes.

Times are our own clock's (``ts_recv``), prices dollars a share, sizes shares. A function over time takes frames of any
number of tokens, and the rows of the table ``gaps``: what a gap touches is flagged with nulls or dropped, and never
averaged over. What needs the sign of trades asks who signed them and carries the answer. Where a side of a book is
empty there is no mid, and nothing is made up.
"""

from pmlive.analysis._fit import Fit
from pmlive.analysis._time import Every
from pmlive.analysis.arbitrage import Edge, FeesByToken, arbitrages, episodes, mirror, neg_risk_sums, set_sums
from pmlive.analysis.bars import quote_bars, trade_bars
from pmlive.analysis.book import (
    Depth,
    Fill,
    Levels,
    TakerSide,
    depth_within,
    fill_dollars,
    fill_shares,
    imbalance,
    mid,
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
from pmlive.analysis.fees import Fees, fee_per_share, taker_fee
from pmlive.analysis.flow import ofi_slope, order_flow_events, order_flow_imbalance, signed, trade_flow, vpin
from pmlive.analysis.gaps import Touched, broken, drop_touched, mark, touched_by
from pmlive.analysis.impact import (
    Horizon,
    KyleLambda,
    amihud,
    kyle_lambda,
    kyle_windows,
    roll_spread,
    roll_windows,
    trade_costs,
    with_mids,
)
from pmlive.analysis.ladders import ladder_measures, quote_measures, slippage_by_dollars, slippage_by_shares
from pmlive.analysis.leadlag import HayashiYoshida, cross_correlation, hayashi_yoshida, lead_lag
from pmlive.analysis.volatility import (
    Scale,
    bipower_variation,
    martingale_check,
    realised_variance,
    sample_mids,
    signature,
    variance_windows,
)

__all__ = [
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
    "KyleLambda",
    "Levels",
    "Measure",
    "Scale",
    "TakerSide",
    "Touched",
    "align",
    "amihud",
    "arbitrages",
    "bipower_variation",
    "brier",
    "brier_skill",
    "broken",
    "calibration",
    "calibration_slope",
    "cross_correlation",
    "depth_within",
    "drop_touched",
    "episodes",
    "event_study",
    "fee_per_share",
    "fill_dollars",
    "fill_shares",
    "forecasts",
    "hayashi_yoshida",
    "imbalance",
    "kyle_lambda",
    "kyle_windows",
    "ladder_measures",
    "lead_lag",
    "log_loss",
    "mark",
    "martingale_check",
    "mid",
    "mirror",
    "neg_risk_sums",
    "ofi_slope",
    "order_flow_events",
    "order_flow_imbalance",
    "placebos",
    "quote_bars",
    "quote_measures",
    "realised_variance",
    "reliability_table",
    "roll_spread",
    "roll_windows",
    "sample_mids",
    "set_sums",
    "signature",
    "signed",
    "slippage_by_dollars",
    "slippage_by_shares",
    "spread_bps",
    "spread_cents",
    "taker_fee",
    "top_share",
    "touched_by",
    "trade_bars",
    "trade_costs",
    "trade_flow",
    "variance_windows",
    "vpin",
    "weighted_mid",
    "with_mids",
]
