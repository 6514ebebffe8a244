"""The parts that a dashboard is made of: of scripts of ours, or of Jupyter's own widgets alone."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from pmlive.widgets import charts, panels, plain

__all__ = ["Kit", "Made", "kit_of"]

Made: TypeAlias = Literal["canvas", "image"]


class Kit(NamedTuple):
    """What makes each part, and how often a second charts are drawn at most, where that is less than they can."""

    price: Callable[..., charts.Price]
    heat: Callable[..., charts.Heat]
    depth: Callable[..., charts.Depth]
    ladder: Callable[..., panels.Levels]
    tape: Callable[..., panels.Trades]
    status: Callable[..., panels.Status]
    recording: Callable[..., panels.Recording]
    most: float | None = None

    def rate(self, rate: float) -> float:
        """Give the rate that is meant by one that may be too high."""
        return rate if self.most is None else min(rate, self.most)


_KITS: dict[str, Kit] = {
    "canvas": Kit(
        charts.PriceChart,
        charts.HeatMap,
        charts.DepthChart,
        panels.Ladder,
        panels.Tape,
        panels.StatusPanel,
        panels.RecordingPanel,
    ),
    # A picture costs the kernel some twenty times what numbers do.
    "image": Kit(
        plain.PriceChart,
        plain.HeatMap,
        plain.DepthChart,
        plain.Ladder,
        plain.Tape,
        plain.StatusPanel,
        plain.RecordingPanel,
        most=5.0,
    ),
}


def kit_of(made: Made) -> Kit:
    """Give what makes parts of a kind.

    Raises:
        ValueError: there is no such kind.
    """
    if made not in _KITS:
        raise ValueError(f"charts {made!r} is neither 'canvas' nor 'image'")
    return _KITS[made]
