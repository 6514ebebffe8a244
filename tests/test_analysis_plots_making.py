"""Figures of simulated market makers and of signs, compared with the numbers that they are of."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from analysing import times
from matplotlib import pyplot as plt
from numpy.testing import assert_allclose

from pmlive.analysis import Simulation, plots

_SECOND, _MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture(autouse=True)
def figures_are_closed() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def made(rows: list[tuple[str, float, float, float | None]]) -> Simulation:
    """A simulation with fills of side and price, and what is held and worth after each."""
    at = times([1000.0 * number for number in range(len(rows))])
    sides = pl.Series([row[0] for row in rows], dtype=pl.Enum(["buy", "sell"]))
    fills = pl.DataFrame({"ts_recv": at, "side": sides, "price": [row[1] for row in rows]}).with_columns(size=20.0)
    held, worth = [row[2] for row in rows], pl.Series([row[3] for row in rows], dtype=pl.Float64)
    path = pl.DataFrame({"ts_recv": at, "inventory": held, "equity": worth})
    return Simulation(fills=fills, path=path, positions=pl.DataFrame(), orders=pl.DataFrame())


def test_fills_are_drawn_at_their_prices_by_side_and_equity_is_broken_where_it_is_not_known() -> None:
    played = made([("buy", 0.4, 20.0, 0.1), ("sell", 0.44, 0.0, None), ("buy", 0.41, 20.0, 0.8)])

    upper, lower = plots.simulation_plot(played, title="A maker")

    bought, sold = (np.asarray(line.get_ydata(), float) for line in upper.lines)
    assert_allclose(bought, [0.4, 0.41])
    assert_allclose(sold, [0.44])
    assert [line.get_marker() for line in upper.lines] == ["^", "v"]
    assert upper.get_title() == "A maker"
    right = next(ax for ax in upper.figure.axes if ax not in {upper, lower})
    assert_allclose(np.asarray(right.lines[0].get_ydata(), float), [0.1, np.nan, 0.8])
    assert "equity" in right.get_ylabel()


def test_a_simulation_without_fills_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a simulation with fills"):
        plots.simulation_plot(made([]))


def test_markouts_are_means_in_cents_with_bands_by_horizon() -> None:
    marks = pl.DataFrame({"horizon": [_MINUTE, _SECOND, _SECOND, _SECOND], "markout": [0.02, 0.01, -0.03, None]})

    ax = plots.markout_plot({"slow": marks})

    line = ax.lines[-1]
    assert_allclose(np.asarray(line.get_xydata(), float), [[1, -1], [60, 2]])
    low, high = np.sort(np.asarray(ax.collections[0].get_paths()[0].vertices)[:, 1])[[0, -1]]
    assert_allclose([low, high], [-1 - 1.96 * 2, -1 + 1.96 * 2], rtol=1e-2)
    assert ax.get_legend() is not None
    assert ax.lines[-1].get_label() == "slow, 2 fills"


def test_an_agreement_is_a_table_with_a_number_for_each_pair_that_has_one() -> None:
    pairs = pl.DataFrame(
        {
            "method": ["feed", "feed", "tick", "tick"],
            "other": ["feed", "tick", "feed", "tick"],
            "share_of_volume": [1.0, 0.75, 0.75, None],
        }
    )

    ax = plots.agreement_plot(pairs)

    assert [(text.get_position(), text.get_text()) for text in ax.texts] == [
        ((0, 0), "100.0%"),
        ((1, 0), "75.0%"),
        ((0, 1), "75.0%"),
    ]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["feed", "tick"]
