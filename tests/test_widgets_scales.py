"""Charts in the browser and figures here have the same axes and shades: the scripts, run by Node, against Python."""

import json
import math
import re

import msgspec
import numpy as np
import pytest
from numpy.testing import assert_allclose
from support.page import evaluated

from pmlive.widgets.canvas import script
from pmlive.widgets.scales import SCALES, heat_limits, opacity
from pmlive.widgets.views import LEVELS, Numbers


class Drawn(msgspec.Struct):
    """What the script makes of ladders."""

    low: float
    high: float
    most: float
    tick: float
    shades: list[float | None]


def ladders(seed: int, tick: float, slices: int) -> tuple[Numbers, Numbers]:
    """Make ladders whose sides have up to ten levels; some are far away, some slices are empty."""
    rng = np.random.default_rng(seed)
    prices, sizes = (np.full((slices, 2 * LEVELS), np.nan) for _ in range(2))
    for row in range(slices):
        bid = int(rng.integers(12, round(1 / tick) - 12))
        for half, direction in ((0, -1), (LEVELS, 1)):
            count = int(rng.integers(0, LEVELS + 1))
            away = direction * (np.cumsum(rng.integers(1, 4, count)) + rng.integers(0, 2))
            prices[row, half : half + count] = np.clip((bid + away) * tick, tick, 1 - tick).round(6)
            sizes[row, half : half + count] = 10 ** rng.uniform(-1, 6, count)
    return prices, sizes


@pytest.mark.parametrize(("seed", "tick", "slices"), [(1, 0.01, 40), (2, 0.001, 300), (3, 0.01, 1), (4, 0.01, 0)])
def test_axes_and_shades_of_liquidity_are_those_of_the_browser(seed: int, tick: float, slices: int) -> None:
    prices, sizes = ladders(seed, tick, slices)
    given = json.dumps(
        [[[None if math.isnan(one) else one for one in row] for row in each.tolist()] for each in (prices, sizes)]
    )
    asked = f"""(([prices, sizes]) => {{
      const nan = (rows) => rows.map((row) => row.map((one) => one ?? NaN));
      const [p, s] = [nan(prices), nan(sizes)];
      const reach = extent(p.map((row, at) => ({{ prices: row, sizes: s[at] }})));
      return {{ ...reach, shades: s.flat().map((size) => opacity(size, reach.most)) }};
    }})({given})"""

    drawn = msgspec.convert(evaluated(asked, scripts=script()), Drawn)

    most = float(np.nanmax(sizes, initial=1.0))
    assert drawn.most == pytest.approx(most)
    assert (drawn.low, drawn.high, drawn.tick) == pytest.approx(heat_limits(prices))
    shades = np.array([math.nan if one is None else one for one in drawn.shades], dtype=np.float64)
    assert_allclose(shades, opacity(sizes, most).ravel(), rtol=1e-12)


def test_the_depth_chart_of_the_browser_has_as_many_levels() -> None:
    found = re.search(r"const LEVELS = (\d+);", script("depth"))

    assert found is not None
    assert int(found[1]) == SCALES["depth_levels"]


def test_shades_grow_with_the_root_of_the_size_up_to_the_largest() -> None:
    assert_allclose(opacity(np.array([0.0, 25.0, 100.0, 400.0]), 100.0), [0.06, 0.53, 1.0, 1.0])
