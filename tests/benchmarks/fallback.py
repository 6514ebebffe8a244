"""What pictures cost that are drawn in the kernel, for front ends that load no script of ours.

Prices of a generated market are drawn with one more row at each update, four updates a second of an invented clock; the
axes move on now and then, which draws everything anew and is in the mean. The widgets are those of the sample
recording, which goes on by some frames from one update to the next.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import cast

import numpy as np

import pmlive as pm
from pmlive.manager import Manager, Replay
from pmlive.widgets import image
from pmlive.widgets.figures import PricePlot, new_figure, png
from pmlive.widgets.image import ImageRenderer
from pmlive.widgets.render_loop import Renderable
from pmlive.widgets.views import PriceView

from . import figures

_UPDATES = 200
_EVERY_MS = 250.0
_WINDOW_MS = 300_000.0
_FRAMES = 5
_FIGURES = 20
_MADE: dict[str, Callable[[Manager], Renderable]] = {
    "price": lambda replay: image.PriceChart(replay, window=None),
    "depth": image.DepthChart,
    "liquidity": lambda replay: image.HeatMap(replay, window=None),
    "ladder": image.Ladder,
    "trades": image.Tape,
    "status": image.StatusPanel,
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fallback", description=__doc__)
    figures.add_options(parser)
    options = parser.parse_args()
    rows = [(f"{points:,} prices, {points // 20:,} trades, generated", *_drawn(points)) for points in (1_000, 10_000)]
    rows.append(("1,000 prices, 50 trades, as a figure", *_figured(1_000)))
    rows += [(f"{name} of the sample", *_updated(make)) for name, make in _MADE.items()]
    head = ("what is drawn", "ms of processor an update, mean", "median", "most", "kB an update")
    made_with = f"{figures.setting('matplotlib', 'pillow', 'numpy')}; load of the machine {os.getloadavg()[0]:.1f}"
    figures.show("fallback", f"{made_with}:\n\n{figures.table(head, rows)}", options)


def _drawn(points: int) -> tuple[str, ...]:
    renderer, costs, sizes = ImageRenderer(PricePlot, over_time=True), list[float](), list[int]()
    for view in _views(points):
        began = time.process_time()
        sizes.append(len(renderer.draw(view)))
        costs.append(time.process_time() - began)
    return _told(costs, sizes)


def _figured(points: int) -> tuple[str, ...]:
    costs, sizes = list[float](), list[int]()
    for view in islice(_views(points), _FIGURES):
        began = time.process_time()
        figure, (axes,) = new_figure()
        PricePlot(axes).draw(view)
        sizes.append(len(png(figure)))
        costs.append(time.process_time() - began)
    return _told(costs, sizes)


def _views(points: int) -> Iterator[PriceView]:
    """Let prices go on while the window moves."""
    random = np.random.default_rng(7)
    times = np.linspace(0.0, _WINDOW_MS, points)
    mids = 0.5 + np.cumsum(random.normal(0.0, 0.0005, points))
    for update in range(_UPDATES):
        now = _WINDOW_MS + update * _EVERY_MS
        times, mids = np.append(times[1:], now), np.append(mids[1:], mids[-1] + random.normal(0.0, 0.0005))
        yield {
            "label": "Will it rain in London on New Year's Eve? - Yes",
            "doubt": "",
            "now": now,
            "window": _WINDOW_MS,
            "times": times,
            "bids": mids - 0.01,
            "asks": mids + 0.01,
            "mids": mids,
            "trade_times": times[::20],
            "trade_prices": mids[::20],
            "trade_sizes": np.full_like(times[::20], 20.0),
            "trade_buys": (np.arange(len(times[::20])) % 2).astype(np.float64),
            "gap_starts": times[:1],
            "gap_ends": times[1:2],
            "gap_causes": ["silence"],
        }


def _updated(make: Callable[[Manager], Renderable]) -> tuple[str, ...]:
    costs, sizes = list[float](), list[int]()
    with Replay(pm.sample(), paused=True) as replay:
        widget = make(replay)
        # It is drawn here, at its turn, and not by the render loop.
        widget.due = lambda now: False  # noqa: ARG005
        for _ in range(_UPDATES):
            replay.step(_FRAMES)
            began = time.process_time()
            now = time.monotonic()
            (snapshot,) = replay.snapshots([widget.request(now)])
            widget.render(snapshot, now)
            costs.append(time.process_time() - began)
            sizes.append(len(cast("bytes | str", getattr(widget, "value"))))  # noqa: B009  # ipywidgets says nothing of types
    return _told(costs, sizes)


def _told(costs: list[float], sizes: list[int]) -> tuple[str, ...]:
    told = (statistics.fmean(costs), statistics.median(costs), max(costs))
    return (*(f"{1000 * cost:.1f}" for cost in told), f"{statistics.fmean(sizes) / 1000:.1f}")


if __name__ == "__main__":
    main()
