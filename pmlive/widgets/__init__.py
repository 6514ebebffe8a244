"""Live charts, tables and controls for notebooks, each usable alone, and together as a dashboard."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pmlive.widgets.charts import CandleChart, DepthChart, HeatMap, OutcomesChart, PriceChart
    from pmlive.widgets.controls import MarketSearch, ReplayControls, TokenPicker
    from pmlive.widgets.dashboard import Dashboard
    from pmlive.widgets.more_figures import coverage_figure, plot_candles, plot_token
    from pmlive.widgets.tables import Ladder, RecordingPanel, StatusPanel, Tape

__all__ = [
    "CandleChart",
    "Dashboard",
    "DepthChart",
    "HeatMap",
    "Ladder",
    "MarketSearch",
    "OutcomesChart",
    "PriceChart",
    "RecordingPanel",
    "ReplayControls",
    "StatusPanel",
    "Tape",
    "TokenPicker",
    "coverage_figure",
    "plot_candles",
    "plot_token",
]

# Loaded when first used: the magic needs neither ipywidgets nor matplotlib, which take a second.
_LAZY = {
    "CandleChart": "charts",
    "Dashboard": "dashboard",
    "DepthChart": "charts",
    "HeatMap": "charts",
    "Ladder": "tables",
    "MarketSearch": "controls",
    "OutcomesChart": "charts",
    "PriceChart": "charts",
    "RecordingPanel": "tables",
    "ReplayControls": "controls",
    "StatusPanel": "tables",
    "Tape": "tables",
    "TokenPicker": "controls",
    "coverage_figure": "more_figures",
    "plot_candles": "more_figures",
    "plot_token": "more_figures",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module when it is first used.

    Raises:
        ImportError: the extra ``pmlive[jupyter]`` is not installed.
    """
    if name not in _LAZY:
        raise AttributeError(f"module 'pmlive.widgets' has no attribute {name!r}")
    try:
        return getattr(import_module(f"pmlive.widgets.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs {error.name}, which is not installed; run: pip install 'pmlive[jupyter]'"
        ) from error


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
