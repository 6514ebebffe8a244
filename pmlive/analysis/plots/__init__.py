"""Figures for papers, of what the functions of ``pmlive.analysis`` and recordings return.

Import it by name: ``from pmlive.analysis import plots``. It needs matplotlib, which ``pmlive[jupyter]`` installs.

Each function draws into ``ax``, or into a new figure of pyplot, and returns the axes, so that everything can be changed
after. Nothing is drawn where a gap left nulls: lines are broken. A frame with several tokens gives each a line, which
is named by ``labels`` (names by token id), by the columns ``slug`` and ``outcome``, or by the ends of its token id.
What colours tell is told by shapes or places, too. ``style`` sets sizes and fonts for a column or a page.

>>> import polars as pl
>>> from pmlive.analysis import signature
>>> at = pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 1, 0, 1), "1s", eager=True)
>>> prices = pl.DataFrame({"token_id": "7", "ts_recv": at, "mid": [0.5, 0.51] * 30 + [0.5]})
>>> with style("column"):
...     ax = signature_plot(signature(prices, ["1s", "2s", "5s"]), title="The bounce of ticks")
>>> ax.get_ylabel()
'realised variance Σ(Δp)², $²'
"""

try:
    from pmlive.analysis.plots.books import (
        Amount,
        SpreadUnit,
        coverage_plot,
        depth_over_time,
        depth_profile,
        impact_plot,
        set_sums_plot,
        spread_by_hour,
        spread_by_price,
    )
    from pmlive.analysis.plots.moves import (
        agreement_plot,
        lead_lag_plot,
        markout_plot,
        order_flow_regression,
        signature_plot,
        simulation_plot,
    )
    from pmlive.analysis.plots.outcomes import calibration_plot, event_study_plot, martingale_plot
    from pmlive.analysis.plots.theme import ASK, BID, SERIES, Style, Width, style
except ModuleNotFoundError as error:
    raise ImportError(
        f"pmlive.analysis.plots needs {error.name}, which is not installed; run: pip install 'pmlive[jupyter]'"
    ) from error

__all__ = [
    "ASK",
    "BID",
    "SERIES",
    "Amount",
    "SpreadUnit",
    "Style",
    "Width",
    "agreement_plot",
    "calibration_plot",
    "coverage_plot",
    "depth_over_time",
    "depth_profile",
    "event_study_plot",
    "impact_plot",
    "lead_lag_plot",
    "markout_plot",
    "martingale_plot",
    "order_flow_regression",
    "set_sums_plot",
    "signature_plot",
    "simulation_plot",
    "spread_by_hour",
    "spread_by_price",
    "style",
]
