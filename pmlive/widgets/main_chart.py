"""The chart at the head of a dashboard: prices, candles, or the outcomes beside a token, one at a time."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import ipywidgets

from pmlive.manager import Manager
from pmlive.widgets.charts import BaseCandleChart, BasePriceChart
from pmlive.widgets.controls import TraitChange
from pmlive.widgets.outcomes import BaseOutcomesChart, outcomes_beside

__all__ = ["MainChart"]

_PRICES, _CANDLES, _OUTCOMES = _KINDS = ("prices", "candles", "all outcomes")
# The candles of windows of up to so many seconds: some sixty, of a usual length; and of everything.
_LENGTHS: Final = (
    (60, "1s"),
    (300, "5s"),
    (900, "15s"),
    (3_600, "1m"),
    (21_600, "5m"),
    (86_400, "30m"),
    (math.inf, "1d"),
)
_OF_EVERYTHING: Final = "1m"

_Chart: TypeAlias = BasePriceChart | BaseCandleChart | BaseOutcomesChart


class MainChart(ipywidgets.VBox):
    """A place for one of three charts; those but the first are made when they are first chosen.

    Args:
        price: the chart that is shown first; the others join its group and its window.
        candles: makes a chart of candles of a token.
        outcomes: makes a chart of several tokens.
    """

    def __init__(
        self,
        price: BasePriceChart,
        candles: Callable[..., BaseCandleChart],
        outcomes: Callable[..., BaseOutcomesChart],
    ) -> None:
        self.price = price
        self.candles: BaseCandleChart | None = None
        self.outcomes: BaseOutcomesChart | None = None
        self._make_candles, self._make_outcomes = candles, outcomes
        # What the user chooses with; whoever shows the chart places it.
        self.chooser = ipywidgets.Dropdown(options=_KINDS, layout={"width": "120px"})
        self.chooser.observe(self._chosen, names="value")
        super().__init__([price], layout={"min_width": "0", "overflow": "hidden"})

    @property
    def chart(self) -> _Chart:
        """The chart that is shown."""
        (shown,) = self.children
        return shown

    def show(self, token_id: str) -> None:
        """Show another token."""
        self.price.token_id = token_id
        if self.candles is not None:
            self.candles.token_id = token_id
        if self.outcomes is not None and token_id not in self.outcomes.token_ids:
            self.outcomes.close()
            self.outcomes = None
            self._place()

    def mark(self, price: float | None) -> None:
        """Mark a price of the token, or none."""
        self.price.marked = price
        if self.candles is not None:
            self.candles.marked = price

    def look_back(self, seconds: float) -> None:
        """Show so many of the last seconds; 0 shows everything."""
        for chart in (self.price, self.candles, self.outcomes):
            if chart is not None:
                chart.window = seconds or None
        if self.candles is not None:
            self.candles.interval = _candle_length(seconds or None)

    def close(self) -> None:
        """Close every chart, also those that are not shown."""
        for chart in (self.price, self.candles, self.outcomes):
            if chart is not None:
                chart.close()
        self.chooser.close()
        super().close()

    def _chosen(self, _change: TraitChange[object]) -> None:
        self._place()

    def _place(self) -> None:
        chart: _Chart = self.price
        if self.chooser.value == _CANDLES:
            chart = self._candles_made()
        elif self.chooser.value == _OUTCOMES:
            chart = self._outcomes_made()
        self.children = [chart]

    def _candles_made(self) -> BaseCandleChart:
        if self.candles is None:
            window, manager = self.price.window, self._manager
            every = _candle_length(window)
            self.candles = self._make_candles(manager, self.price.token_id, every=every, window=window)
            self.candles.group, self.candles.marked = self.price.group, self.price.marked
        return self.candles

    def _outcomes_made(self) -> BaseOutcomesChart:
        if self.outcomes is None:
            token_id, manager = self.price.token_id, self._manager
            keys = None if token_id is None else outcomes_beside(manager, token_id)
            self.outcomes = self._make_outcomes(manager, keys, window=self.price.window)
            self.outcomes.group = self.price.group
        return self.outcomes

    @property
    def _manager(self) -> Manager:
        return self.price.manager


def _candle_length(window: float | None) -> str:
    """Return the length of the candles of a window in seconds; None is everything.

    >>> [_candle_length(window) for window in (0.5, 300.0, 301.0, 1e9, None)]
    ['1s', '5s', '15s', '1d', '1m']
    """
    return _OF_EVERYTHING if window is None else next(length for most, length in _LENGTHS if window <= most)
