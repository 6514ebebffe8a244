"""Figures of the plots, compared with what numpy makes of the same numbers."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import io
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from analysing import START, TIME, gaps, golden, mids, times
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.patches import Rectangle, StepPatch
from numpy.testing import assert_allclose, assert_array_equal

import pmlive as pm
from pmlive import analysis
from pmlive.analysis import plots

Floats = npt.NDArray[np.float64]

TOKENS = ("1" * 77, "2" * 76 + "9")
SECOND = timedelta(seconds=1)
NAN = float("nan")


@pytest.fixture(autouse=True)
def figures_are_closed() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def points(ax: Axes, number: int) -> tuple[Floats, Floats]:
    return np.asarray(ax.lines[number].get_xdata(), float), np.asarray(ax.lines[number].get_ydata(), float)


def segments(ax: Axes, number: int = 0) -> list[Floats]:
    bars = [each for each in ax.collections if isinstance(each, LineCollection)]
    return [np.asarray(each) for each in bars[number].get_segments()]


def dots(ax: Axes) -> Floats:
    return np.concatenate([each.get_offsets() for each in ax.collections if isinstance(each, PathCollection)])


def legend(ax: Axes) -> list[str]:
    shown = ax.get_legend()
    return [] if shown is None else [text.get_text() for text in shown.get_texts()]


def quotes(seconds: list[float], spreads: list[float | None], *, token_id: str = TOKENS[0]) -> pl.DataFrame:
    at = times([1000 * each for each in seconds])
    return pl.DataFrame({"time": at, "spread": pl.Series(spreads, dtype=pl.Float64)}).with_columns(
        token_id=pl.lit(token_id), mid=pl.when(pl.col("spread").is_not_null()).then(0.5)
    )


def ladders(books: list[tuple[list[tuple[float, float]], list[tuple[float, float]]] | None]) -> pl.DataFrame:
    """Make rows of ``depth``, a second apart, of bids and asks; None where the book was not to be trusted."""
    lists = {
        f"{side}_{what}": [None if book is None else [level[at] for level in book[place]] for book in books]
        for place, side in enumerate(("bid", "ask"))
        for at, what in enumerate(("prices", "sizes"))
    }
    columns = {name: pl.Series(values, dtype=pl.List(pl.Float64)) for name, values in lists.items()}
    return pl.DataFrame({"time": times([1000 * each for each in range(len(books))]), **columns})


BOOK = ([(0.49, 10.0), (0.48, 20.0), (0.45, 5.0)], [(0.51, 7.0), (0.53, 8.0), (0.54, 9.0)])
DEEP = ([(0.48, 30.0), (0.47, 1.0), (0.46, 1.0)], [(0.52, 50.0), (0.53, 60.0), (0.56, 9.0)])
ONE_SIDED: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([(0.49, 10.0)], [])


# --- spread_by_hour, spread_by_price ---


def test_spreads_are_drawn_as_medians_and_middle_halves_of_each_hour_of_the_day() -> None:
    rng = np.random.default_rng(1)
    seconds = sorted(rng.integers(0, 3 * 86_400, 4000).tolist())
    spreads = rng.integers(1, 9, 4000) / 100
    frame = quotes([float(each) for each in seconds], spreads.tolist())

    ax = plots.spread_by_hour(frame)

    hours = frame["time"].dt.epoch("s").to_numpy() // 3600 % 24
    by_hour = [100 * spreads[hours == hour] for hour in range(24)]
    x, y = points(ax, 0)
    assert x.tolist() == [hour + 0.5 for hour in range(24)]
    assert_allclose(y, [np.median(each) for each in by_hour])
    bars = segments(ax)
    assert_allclose([bar[0, 1] for bar in bars], [np.quantile(each, 0.25) for each in by_hour])
    assert_allclose([bar[1, 1] for bar in bars], [np.quantile(each, 0.75) for each in by_hour])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time of the day, UTC", "spread, cents")
    assert ax.get_xlim() == (0, 24)


def test_an_interval_of_the_day_without_a_spread_breaks_the_line() -> None:
    frame = quotes([0, 600, 1200, 1800, 3000], [0.01, 0.02, None, 0.03, 0.04])

    ax = plots.spread_by_hour(frame, every="10m", unit="bps")

    first = (START // 10**9 % 86_400) / 3600
    x, y = points(ax, 0)
    assert_allclose(x, first + (np.arange(6) + 0.5) / 6)
    assert_allclose(y, [200, 400, NAN, 600, NAN, 800])
    assert ax.get_ylabel() == "spread, bps of the mid"


def test_tokens_have_a_line_each_beside_each_other_with_names_and_never_77_digits() -> None:
    frame = pl.concat([quotes([0, 3600], [0.01, 0.02], token_id=token) for token in TOKENS])
    slugs = pl.DataFrame({"token_id": TOKENS, "slug": "will-it-rain", "outcome": ["Yes", "No"]})

    plain = plots.spread_by_hour(frame)
    named = plots.spread_by_hour(frame, labels={TOKENS[0]: "rain"})
    joined = plots.spread_by_hour(frame.join(slugs, on="token_id"))
    recorded = plots.spread_by_hour(
        frame.join(slugs.cast({"slug": pl.Categorical, "outcome": pl.Categorical}), on="token_id")
    )
    alone = plots.spread_by_hour(frame.filter(pl.col("token_id") == TOKENS[0]))

    assert legend(plain) == ["token 111111…111111", "token 222222…222229"]
    assert legend(named) == ["rain", "token 222222…222229"]
    assert legend(joined) == legend(recorded) == ["will-it-rain Yes", "will-it-rain No"]
    assert legend(alone) == []
    assert len(plain.lines) == 2
    assert (points(plain, 0)[0] < points(plain, 1)[0]).all()
    looks = {(str(line.get_color()), line.get_linestyle(), str(line.get_marker())) for line in plain.lines}
    assert len(looks) == 2
    assert len({each[1] for each in looks}) == len({each[2] for each in looks}) == 2


def test_two_tokens_of_one_name_are_told_apart_and_formulas_are_not_read() -> None:
    frame = pl.concat([quotes([0], [0.01], token_id=token) for token in TOKENS])

    ax = plots.spread_by_hour(frame.with_columns(slug=pl.lit(r"$\frac{1}{0}$")))
    ax.figure.canvas.draw()

    assert legend(ax) == [rf"$\frac{{1}}{{0}}$ (token {end})" for end in ("111111…111111", "222222…222229")]


def test_a_name_that_the_font_does_not_have_or_that_is_long_is_drawn_without_a_warning() -> None:
    frame = pl.concat([quotes([0], [0.01], token_id=token) for token in TOKENS])
    slug = "btc-updown-" + "very-" * 20 + "long-1784908800"

    ax = plots.spread_by_hour(frame, labels={TOKENS[0]: "\N{PILE OF POO}", TOKENS[1]: slug})
    ax.figure.canvas.draw()

    assert legend(ax)[0] == "\N{WHITE SQUARE}"
    assert legend(ax)[1].startswith("btc-updown-")
    assert legend(ax)[1].endswith("1784908800")
    assert len(legend(ax)[1]) <= 34


def test_an_interval_has_to_divide_the_day() -> None:
    with pytest.raises(ValueError, match="invalid every '7h'; expected a whole part of a day"):
        plots.spread_by_hour(quotes([0], [0.01]), every="7h")
    with pytest.raises(ValueError, match="invalid unit 'euros'"):
        plots.spread_by_hour(quotes([0], [0.01]), unit=cast("plots.SpreadUnit", "euros"))


def test_spreads_by_price_are_binned_with_edges_in_the_upper_bin() -> None:
    mids_ = [0.1, 0.1999, 0.29, 0.3, 0.7, 1.0, None]
    spreads = [0.01, 0.03, 0.02, 0.04, 0.06, 0.002, None]
    frame = pl.DataFrame({"mid": mids_, "spread": spreads})

    ax = plots.spread_by_price(frame)

    x, y = points(ax, 0)
    assert_allclose(x, np.arange(1, 10) / 10 + 0.05)
    assert_allclose(y, [2, 2, 4, NAN, NAN, NAN, 6, NAN, 0.2])
    assert ax.get_xlabel() == "mid, $ a share"


# --- depth_profile, depth_over_time ---


def shares_up_to(book: tuple[list[tuple[float, float]], list[tuple[float, float]]], side: int, cents: float) -> float:
    middle = (book[0][0][0] + book[1][0][0]) / 2
    return sum(size for price, size in book[side] if 100 * abs(price - middle) <= cents + 1e-6)


def test_a_profile_has_the_median_of_the_shares_up_to_each_distance_and_ends_where_a_book_is_not_known() -> None:
    ax = plots.depth_profile(ladders([BOOK, None, DEEP, ONE_SIDED, BOOK]))

    for side, sign in ((0, -1), (1, 1)):
        x, y = points(ax, side)
        expected = [np.median([shares_up_to(book, side, sign * at) for book in (BOOK, DEEP, BOOK)]) for at in x]
        assert_allclose(y, expected)
    # Three levels may be all that was asked for: the shares beyond the nearest third one are not known.
    assert_allclose(points(ax, 0)[0], [0, -1, -2, -3, -4])
    assert_allclose(points(ax, 1)[0], [0, 1, 2, 3, 4])
    assert legend(ax) == ["bid", "ask"]
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    assert "cents" in ax.get_xlabel()
    assert "shares" in ax.get_ylabel()


def test_a_profile_is_broken_beyond_what_is_known_of_all_books() -> None:
    far = ([(0.49, 10.0), (0.2, 20.0), (0.1, 5.0)], [(0.51, 7.0), (0.8, 8.0), (0.9, 9.0)])

    ax = plots.depth_profile(ladders([BOOK, far]), cents=30.0)

    x, y = points(ax, 1)
    assert x[-1] == 30
    assert np.isfinite(y[x <= 4]).all()
    assert np.isnan(y[x > 4]).all()


def test_a_side_that_lists_fewer_levels_than_others_has_no_more() -> None:
    short = ([(0.49, 10.0), (0.48, 20.0), (0.47, 5.0)], [(0.51, 7.0)])

    ax = plots.depth_profile(ladders([short, DEEP]))

    x, y = points(ax, 1)
    assert x[-1] == pytest.approx(6)
    assert y[-1] == pytest.approx((7 + 119) / 2)


def test_tokens_have_a_profile_each_of_one_look_on_both_sides() -> None:
    both = pl.concat([ladders([BOOK, DEEP]).with_columns(token_id=pl.lit(token)) for token in TOKENS])

    ax = plots.depth_profile(both, labels={TOKENS[0]: "one", TOKENS[1]: "other"})

    assert legend(ax) == ["one", "other"]
    colours = [line.get_color() for line in ax.lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert not [each for each in ax.collections if isinstance(each, PolyCollection)]


def test_depth_over_time_is_interrupted_in_gaps_and_where_rows_are_missing() -> None:
    measured = analysis.ladder_measures(ladders([BOOK, BOOK, None, DEEP, DEEP, BOOK, BOOK]), cents=1.0)

    upper, lower = plots.depth_over_time(measured.with_row_index("row").filter(pl.col("row") != 4).drop("row"))

    x, y = points(upper, 0)
    assert_allclose((x - x[0]) * 86_400, range(8), atol=1e-4)
    assert_allclose(y, [0.5, 0.5, NAN, 0.5, NAN, 0.5, 0.5, NAN])
    asks, bids = (each for each in lower.patches if isinstance(each, StepPatch))
    assert_allclose(asks.get_data()[1], x)
    assert_allclose(asks.get_data()[0], [7, 7, NAN, 0, NAN, 7, 7])
    assert_allclose(bids.get_data()[0], [-10, -10, NAN, 0, NAN, -10, -10])
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("mid, $ a share", "shares near it")
    assert lower.get_xlabel() == "time, UTC"


def test_depth_over_time_is_of_one_token_and_parts_axes_of_a_grid() -> None:
    measured = analysis.ladder_measures(ladders([BOOK, BOOK]))
    both = pl.concat([measured.with_columns(token_id=pl.lit(token)) for token in TOKENS])
    figure, axes = plt.subplots(1, 2, layout="constrained")

    with pytest.raises(ValueError, match="the rows are of 2 tokens; expected one"):
        plots.depth_over_time(both)
    with pytest.raises(ValueError, match=r"expected axes of pyplot\.subplots"):
        plots.depth_over_time(measured, ax=figure.add_axes((0, 0, 1, 1)))
    upper, lower = plots.depth_over_time(measured, ax=axes[1])
    assert upper is axes[1]
    figure.canvas.draw()
    assert lower.get_position().y1 < upper.get_position().y0
    assert lower.get_position().x0 == pytest.approx(upper.get_position().x0)


# --- impact_plot ---


def test_costs_are_those_of_walking_each_book() -> None:
    books = (BOOK, DEEP, BOOK)
    amounts = (5.0, 15.0, 20.0)

    ax = plots.impact_plot(ladders([books[0], None, books[1], ONE_SIDED, books[2]]), amounts)

    for number, side in enumerate(("buy", "sell")):
        x, y = points(ax, number)
        fills = [[analysis.fill_shares(*book, side=side, shares=each) for book in books] for each in amounts]
        assert x.tolist() == list(amounts)
        assert_allclose(y, [np.median([100 * (fill.slippage or NAN) for fill in each]) for each in fills])
    assert legend(ax) == ["buy", "sell"]
    assert ax.get_xlabel() == "size of the order, shares"
    assert ax.get_ylabel() == "cost against the mid, cents"
    assert ax.get_xscale() == "log"


def test_a_book_that_does_not_hold_an_order_is_dearer_than_any_other() -> None:
    ax = plots.impact_plot(ladders([BOOK, BOOK, DEEP]), (10.0, 30.0, 100.0, 500.0))

    _, y = points(ax, 0)
    # Of 24 shares asked in BOOK and 119 in DEEP, an order of 30 is held by one book of three.
    assert np.isfinite(y).tolist() == [True, False, False, False]


def test_costs_in_dollars_and_bps() -> None:
    ax = plots.impact_plot(ladders([BOOK]), [5.0], amounts_in="dollars", unit="bps")

    expected = analysis.fill_dollars(*BOOK, side="buy", dollars=5.0)
    assert_allclose(points(ax, 0)[1], [expected.slippage_bps or NAN])
    assert ax.get_xlabel() == "size of the order, $"
    with pytest.raises(ValueError, match=r"invalid amounts \[-1\.0\]"):
        plots.impact_plot(ladders([BOOK]), [-1.0])


def test_costs_of_tokens_have_colours_for_tokens_and_patterns_for_sides() -> None:
    both = pl.concat([ladders([BOOK]).with_columns(token_id=pl.lit(token)) for token in TOKENS])

    ax = plots.impact_plot(both, [5.0, 10.0], labels={TOKENS[0]: "one", TOKENS[1]: "other"})

    assert legend(ax) == ["one", "other", "buy", "sell"]
    assert ax.lines[0].get_color() == ax.lines[1].get_color() != ax.lines[2].get_color()
    assert ax.lines[0].get_linestyle() == ax.lines[2].get_linestyle() != ax.lines[1].get_linestyle()


# --- set_sums_plot ---


def sums(rows: list[tuple[int, int, float | None, float | None]], *, prefix: str = "") -> pl.DataFrame:
    """Make steps of seconds from and to, and the sums of asks and bids."""
    return pl.DataFrame(
        {
            "start": times([1000 * row[0] for row in rows]),
            "end": times([1000 * row[1] for row in rows]),
            f"{prefix}buy_sum": pl.Series([row[2] for row in rows], dtype=pl.Float64),
            f"{prefix}sell_sum": pl.Series([row[3] for row in rows], dtype=pl.Float64),
        }
    )


@pytest.mark.parametrize(("prefix", "what"), [("", "a set"), ("yes_", "every Yes")])
def test_sums_of_sets_hold_from_start_to_end_and_are_interrupted_where_they_are_not_known(
    prefix: str, what: str
) -> None:
    frame = sums([(0, 2, 1.01, 0.98), (2, 3, None, None), (3, 5, 1.02, None), (8, 9, 0.99, 0.97)], prefix=prefix)

    ax = plots.set_sums_plot(frame)

    for number, expected in ((1, [1.01, NAN, 1.02, NAN, 0.99, NAN]), (2, [0.98, NAN, NAN, NAN, 0.97, NAN])):
        x, y = points(ax, number)
        assert_allclose((x - x[0]) * 86_400, [0, 2, 3, 5, 8, 9], atol=1e-4)
        assert_allclose(y, expected)
    assert legend(ax) == [f"{what} bought", f"{what} sold"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time, UTC", "$ a set")


# --- order_flow_regression, signature_plot, lead_lag_plot ---


def windows(*, token_id: str = TOKENS[0], seed: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    flow = rng.normal(0, 500, 60)
    change = 2e-5 * flow + rng.normal(0, 0.004, 60)
    frame = pl.DataFrame({"token_id": token_id, "ofi": flow, "mid_change": change})
    hole = pl.DataFrame({"token_id": [token_id], "ofi": [None], "mid_change": [None]}, schema=frame.schema)
    return pl.concat([frame, hole])


def test_order_flow_is_drawn_with_its_least_squares_line() -> None:
    frame = windows()

    ax = plots.order_flow_regression(frame, title="Flow")

    flow, change = frame.head(60).select("ofi", "mid_change").to_numpy().T
    assert_allclose(dots(ax), np.column_stack([flow, 100 * change]))
    slope, intercept = np.polyfit(flow, change, 1)
    x, y = points(ax, -1)
    assert_allclose(x, [flow.min(), flow.max()])
    assert_allclose(y, 100 * (intercept + slope * x))
    r2 = np.corrcoef(flow, change)[0, 1] ** 2
    assert legend(ax)[0].startswith(f"{1e5 * slope:.2f} ¢ per 1,000 shares\nt = ")
    assert legend(ax)[0].endswith(f"R² = {r2:.2f}, n = 60")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("order flow imbalance, shares", "change of the mid, cents")
    assert "Flow" in {ax.get_title(), ax.get_title(loc="left")}


def test_lines_can_be_given_and_do_not_change_how_high_the_points_are_drawn() -> None:
    steep = analysis.Fit(slope=1.0, intercept=0.0, stderr=0.1, tstat=10.0, r2=0.5, n=7)

    ax = plots.order_flow_regression(windows(), fits={"steep": steep, "none": None})

    assert legend(ax) == ["steep: 100000.00 ¢ per 1,000 shares\nt = 10.0, R² = 0.50, n = 7", "none: no line"]
    assert ax.get_ylim()[1] < 20


def test_each_token_has_its_line_and_two_windows_have_none() -> None:
    both = pl.concat([windows(), windows(token_id=TOKENS[1]).head(2)])

    ax = plots.order_flow_regression(both, labels={TOKENS[0]: "one", TOKENS[1]: "other"})

    assert legend(ax)[0].startswith("one: ")
    assert legend(ax)[1] == "other: no line"
    assert len([each for each in ax.collections if isinstance(each, PathCollection)]) == 2


def test_names_of_many_lines_stand_beside_the_axes_and_leave_them_room() -> None:
    many = pl.concat([windows(token_id=f"{at:077}", seed=at) for at in range(8)])

    with warnings.catch_warnings(), plots.style("column"):
        warnings.simplefilter("error")
        ax = plots.order_flow_regression(many)
        ax.figure.canvas.draw()

    told = ax.get_legend()
    assert told is not None
    assert ax.get_window_extent().x1 <= told.get_window_extent().x0
    assert ax.get_window_extent().width > 0.3 * ax.figure.bbox.width


def test_a_signature_has_the_variances_by_step_and_breaks_where_one_is_missing() -> None:
    rng = np.random.default_rng(5)
    prices = mids(
        [(1000 * at, mid) for at, mid in enumerate(np.clip(0.5 + rng.normal(0, 0.01, 301).cumsum(), 0.1, 0.9))]
    )
    variances = analysis.signature(prices, ["1s", "5s", "10s", "1h"])

    ax = plots.signature_plot(variances)

    series = prices["mid"].to_numpy()
    x, y = points(ax, 0)
    assert x.tolist() == [1, 5, 10, 3600]
    assert_allclose(y[:3], [np.sum(np.diff(series[::step]) ** 2) for step in (1, 5, 10)])
    assert np.isnan(y[3])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1 s", "5 s", "10 s", "1 h"]
    assert ax.get_ylabel() == "realised variance Σ(Δp)², $²"
    logit = plots.signature_plot(variances, scale="logit")
    assert_allclose(points(logit, 0)[1], variances["rv_logit"].cast(pl.Float64).to_numpy())


def test_labels_of_steps_have_room() -> None:
    steps = [f"{each}s" for each in range(1, 60)]
    prices = mids([(1000 * at, 0.4 + 0.01 * (at % 7)) for at in range(200)])

    with plots.style("column"):
        ax = plots.signature_plot(analysis.signature(prices, steps))
        ax.figure.canvas.draw()

    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert 4 < len(boxes) < 20
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_a_lead_is_marked_where_the_correlation_is_strongest() -> None:
    lags = [2 * SECOND, -SECOND, SECOND, timedelta()]
    one = pl.DataFrame({"lag": lags, "corr": [0.1, None, -0.8, 0.3]})

    ax = plots.lead_lag_plot({"HY": one, "grid": one.with_columns(pl.col("corr") / 2)}, names=("spot", "book"))

    curve = next(line for line in ax.lines if len(np.asarray(line.get_xdata())) == 4)
    assert_allclose(np.asarray(curve.get_xdata(), float), [-1, 0, 1, 2])
    assert_allclose(np.asarray(curve.get_ydata(), float), [NAN, 0.3, -0.8, 0.1])
    assert legend(ax) == ["HY: strongest at 1 s", "grid: strongest at 1 s"]
    marks = [np.asarray(line.get_xydata()).tolist() for line in ax.lines if len(np.asarray(line.get_xdata())) == 1]
    assert marks == [[[1.0, -0.8]], [[1.0, -0.4]]]
    assert ax.get_xlabel() == "lag, s (above 0: spot leads book)"


# --- calibration_plot, martingale_plot, event_study_plot ---


def test_a_calibration_has_shares_intervals_and_counts_of_each_bin_that_is_not_empty() -> None:
    told = golden("calibration")
    bins, counts, forecast, outcome = np.array(told["table"]).T

    ax, bars = plots.calibration_plot(analysis.reliability_table(told["forecast"], told["outcome"], bins=10))

    x, y = points(ax, 1)
    assert_allclose(x, forecast)
    assert_allclose(y, outcome)
    # Wilson 1927: the bounds are where the outcome is 1.96 standard errors away.
    for at, bar in enumerate(segments(ax)):
        variance = bar[:, 1] * (1 - bar[:, 1]) / counts[at]
        assert_allclose((outcome[at] - bar[:, 1]) ** 2, 1.959964**2 * variance, rtol=1e-6, atol=1e-12)
    boxes = [each for each in bars.patches if isinstance(each, Rectangle)]
    assert [box.get_height() for box in boxes] == counts.tolist()
    assert_allclose([box.get_x() + box.get_width() / 2 for box in boxes], bins / 10 + 0.05)
    assert legend(ax) == [f"n = {len(told['forecast'])}"]
    assert bars.get_xlabel() == "forecast, $ a share"
    assert ax.get_ylabel() == "share that came true"


def test_bins_without_forecasts_have_no_mark_and_no_bar() -> None:
    ax, bars = plots.calibration_plot(analysis.reliability_table([0.05, 0.15, 0.15], [0, 1, 0], bins=10))

    assert_allclose(points(ax, 1), [[0.05, 0.15], [0.0, 0.5]])
    assert len(segments(ax)) == 2
    assert [each.get_height() for each in bars.patches if isinstance(each, Rectangle)] == [1, 2, *[0] * 8]


def test_calibrations_of_several_sets_stand_beside_each_other() -> None:
    tables = {
        name: analysis.reliability_table([0.2, 0.2, 0.6], [0, 1, each], bins=5) for name, each in (("a", 0), ("b", 1))
    }

    ax, bars = plots.calibration_plot(tables)

    apart = points(ax, 2)[0] - points(ax, 1)[0]
    assert_allclose(apart, 0.012)
    assert legend(ax) == ["a, n = 3", "b, n = 3"]
    boxes = [each for each in bars.patches if isinstance(each, Rectangle)]
    assert boxes[0].get_hatch() != boxes[5].get_hatch()
    assert boxes[0].get_x() + boxes[0].get_width() == pytest.approx(boxes[5].get_x())


def paths(values: npt.NDArray[np.float64]) -> pl.DataFrame:
    """Make the rows of ``align`` of events (rows) at offsets of a second from -2 on (columns); NaN is a null."""
    events, steps = values.shape
    return pl.DataFrame(
        {
            "event": np.repeat(np.arange(events), steps),
            "offset": pl.Series(np.tile((np.arange(steps) - 2) * 10**9, events)).cast(pl.Duration("ns")),
            "mid": values.ravel(),
        }
    ).with_columns(pl.col("mid").fill_nan(None))


def band(ax: Axes) -> tuple[Floats, Floats]:
    """Give the lowest and the highest corner of the band at each place."""
    (area,) = (each for each in ax.collections if isinstance(each, PolyCollection))
    x, y = np.concatenate([np.asarray(path.vertices) for path in area.get_paths()]).T
    edges = [(y[x == each].min(), y[x == each].max()) for each in np.unique(x)]
    return np.array([low for low, _ in edges]), np.array([high for _, high in edges])


def test_the_mean_path_of_events_has_the_band_of_students_distribution() -> None:
    values = np.random.default_rng(7).normal(0.5, 0.05, (9, 6))
    values[0, 3] = NAN

    ax = plots.event_study_plot(paths(values))

    mean = np.nanmean(values, axis=0)
    x, y = points(ax, 0)
    assert x.tolist() == [-2, -1, 0, 1, 2, 3]
    assert_allclose(y, mean)
    # The 97.5 % points with 8 and 7 degrees of freedom, from tables.
    t = np.where(np.arange(6) == 3, 2.364624, 2.306004)
    n = np.isfinite(values).sum(axis=0)
    half = t * np.nanstd(values, axis=0, ddof=1) / np.sqrt(n)
    low, high = band(ax)
    assert_allclose(low, mean - half, rtol=1e-6)
    assert_allclose(high, mean + half, rtol=1e-6)
    assert legend(ax) == ["95 % confidence", "mean of 9 events"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time from the event, s", "mid, $ a share")


def test_an_offset_that_no_event_reaches_breaks_the_path_and_one_event_has_no_band() -> None:
    values = np.array([[0.5, NAN, 0.6], [0.7, NAN, NAN]])

    ax = plots.event_study_plot(paths(values))

    assert_allclose(points(ax, 0)[1], [0.6, NAN, 0.6])


def test_changes_are_from_the_last_offset_before_the_event() -> None:
    values = np.array([[0.5, 0.6, 0.7, 0.9], [0.1, 0.2, 0.3, 0.2], [0.4, NAN, 0.9, 0.9]])

    ax = plots.event_study_plot(paths(values), measure="change")

    assert_allclose(points(ax, 0)[1], [-0.1, 0, 0.1, 0.15], atol=1e-12)
    assert ax.get_ylabel() == "mid, $ a share from before"


def test_medians_of_a_study_have_the_band_of_random_times() -> None:
    rng = np.random.default_rng(11)
    frame = mids([(1000 * at, float(mid)) for at, mid in enumerate(rng.integers(40, 60, 900) / 100)])
    events = pl.DataFrame({"token_id": "yes", "ts_recv": times([200_000, 400_000, 500_000])})
    window = analysis.EventWindow(before="5s", after="5s")
    study = analysis.event_study(frame, events, ("mid",), window=window, draws=20)

    ax = plots.event_study_plot(study)

    rows = study.filter(pl.col("value") == "mid").sort("offset")
    assert_allclose(points(ax, 1)[1], rows["median"])
    low, high = band(ax)
    assert_allclose(low, rows["null_low"])
    assert_allclose(high, rows["null_high"])
    assert legend(ax) == ["95 % of random times", "median of 3 events"]
    assert plots.event_study_plot(study, "updates").get_ylabel() == "updates in a step"


def test_movement_is_drawn_by_first_price_with_the_interval_of_its_mean() -> None:
    rng = np.random.default_rng(13)
    first, movement = rng.uniform(0, 1, 80), rng.uniform(0, 0.3, 80)
    excess = movement - first * (1 - first)
    checks = pl.DataFrame({"first": first, "movement": movement, "excess": excess})

    ax = plots.martingale_plot(checks, bins=4)

    bins = [np.floor(4 * first) == each for each in range(4)]
    x, y = points(ax, 1)
    assert_allclose(x, [first[each].mean() for each in bins])
    assert_allclose(y, [movement[each].mean() for each in bins])
    lengths = np.array([bar[1, 1] - bar[0, 1] for bar in segments(ax)])
    t = lengths / 2 / np.array([excess[each].std(ddof=1) / np.sqrt(each.sum()) for each in bins])
    # With 10 to 40 degrees of freedom.
    assert (t > 2.02).all()
    assert (t < 2.23).all()
    curve_x, curve_y = points(ax, 0)
    assert_allclose(curve_y, curve_x * (1 - curve_x))


# --- coverage_plot ---


def test_coverage_has_thick_bars_while_a_book_was_trusted_and_thin_hatched_ones_while_not() -> None:
    told = pm.open_recording(pm.sample()).quality()

    ax = plots.coverage_plot(told.intervals, labels={each.token_id: each.label for each in told.tokens})

    boxes = [each for each in ax.patches if isinstance(each, Rectangle)]
    length = (told.intervals["end"] - told.intervals["start"]).dt.total_nanoseconds().to_numpy() / 1e9
    was_trusted = told.intervals["trusted"].to_numpy()
    for trusted in (True, False):
        drawn = [box.get_width() * 86_400 for box in boxes if (box.get_height() > 0.5) == trusted]
        assert_allclose(sorted(drawn), sorted(length[was_trusted == trusted]), atol=1e-3)
    assert all(bool(box.get_hatch()) == (box.get_height() < 0.5) for box in boxes)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert len(names) == 8
    share = length[was_trusted].sum() / length.sum()
    assert all(name.endswith(f"  {share:.1%}") for name in names)
    assert legend(ax) == ["trusted", "not trusted"]
    assert ax.get_xlabel() == "time, UTC"


def test_coverage_without_names_shows_the_ends_of_token_ids() -> None:
    intervals = pl.DataFrame(
        {"token_id": TOKENS, "start": times([0, 0]), "end": times([1000, 3000]), "trusted": [True, False]}
    )

    ax = plots.coverage_plot(intervals)

    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "token 111111…111111  100.0%",
        "token 222222…222229  0.0%",
    ]


# --- all of them ---


def examples() -> dict[str, tuple[Callable[..., Axes | tuple[Axes, Axes]], pl.DataFrame, str]]:
    """Give a frame for each function, and what its message says to give."""
    table = analysis.reliability_table([0.1, 0.9], [0, 1])
    curve = pl.DataFrame({"lag": [SECOND, 2 * SECOND], "corr": [0.5, 0.1]})
    interval = pl.DataFrame({"token_id": "7", "start": times([0]), "end": times([1000]), "trusted": True})
    checks = pl.DataFrame({"first": [0.4], "movement": [0.2], "excess": [-0.04]})
    marks = pl.DataFrame({"horizon": [SECOND], "markout": [0.01]})
    pairs = pl.DataFrame({"method": ["feed", "tick"], "other": ["tick", "feed"], "share_of_volume": [0.75, 0.75]})
    return {
        "agreement_plot": (plots.agreement_plot, pairs, "sign_agreement"),
        "markout_plot": (plots.markout_plot, marks, "markouts"),
        "spread_by_hour": (plots.spread_by_hour, quotes([0, 60], [0.01, None]), "night.prices"),
        "spread_by_price": (plots.spread_by_price, quotes([0, 60], [0.01, None]), "night.prices"),
        "depth_profile": (plots.depth_profile, ladders([BOOK, None]), "night.depth"),
        "depth_over_time": (plots.depth_over_time, analysis.ladder_measures(ladders([BOOK, None])), "ladder_measures"),
        "impact_plot": (plots.impact_plot, ladders([BOOK, None]), "night.depth"),
        "set_sums_plot": (plots.set_sums_plot, sums([(0, 2, 1.01, 0.98), (2, 3, None, None)]), "set_sums"),
        "order_flow_regression": (plots.order_flow_regression, windows(), "order_flow_imbalance"),
        "signature_plot": (plots.signature_plot, analysis.signature(mids([(0, 0.5), (9000, 0.6)])), "signature"),
        "lead_lag_plot": (plots.lead_lag_plot, curve, "lead_lag"),
        "calibration_plot": (plots.calibration_plot, table, "reliability_table"),
        "event_study_plot": (plots.event_study_plot, paths(np.array([[0.5, 0.5, NAN]])), "align"),
        "martingale_plot": (plots.martingale_plot, checks, "martingale_check"),
        "coverage_plot": (plots.coverage_plot, interval, "intervals"),
    }


ALL = examples()


def test_every_plot_is_tried() -> None:
    functions = {name for name in plots.__all__ if name[0].islower()} - {"simulation_plot", "style"}

    assert functions == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_frame_without_rows_or_values_is_refused_with_a_word_on_what_to_give(name: str) -> None:
    draw, frame, give = ALL[name]

    with pytest.raises(ValueError, match=f"the frame has no rows; expected .*{give}"):
        draw(frame.clear())
    with pytest.raises(ValueError, match=f"no row has a value in .*; expected .*{give}"):
        draw(frame.with_columns(pl.lit(None).cast(kind).alias(column) for column, kind in frame.schema.items()))
    with pytest.raises(ValueError, match=f"the frame has no column '.*'; expected .*{give}"):
        draw(frame.select(other=1))
    assert not plt.get_fignums()


@pytest.mark.quick(2)
@pytest.mark.parametrize(("width", "form", "begin"), [("column", "pdf", b"%PDF"), ("page", "png", b"\x89PNG")])
@pytest.mark.parametrize("name", ALL)
def test_a_figure_is_saved_as_pdf_and_png_without_a_warning(
    name: str, width: plots.Width, form: str, begin: bytes
) -> None:
    draw, frame, _ = ALL[name]

    with warnings.catch_warnings(), plots.style(width):
        warnings.simplefilter("error")
        # What libraries think of each other is no warning of ours.
        warnings.simplefilter("ignore", DeprecationWarning)
        draw(frame, title="A title")
        plt.savefig(file := io.BytesIO(), format=form)

    assert file.getvalue().startswith(begin)


@pytest.mark.parametrize("name", ALL)
def test_a_plot_is_drawn_into_the_axes_that_are_given_with_labels_on_both(name: str) -> None:
    draw, frame, _ = ALL[name]
    figure, axes = plt.subplots(1, 2)

    drawn = draw(frame, ax=axes[1], title="A title")

    every = drawn if isinstance(drawn, tuple) else (drawn,)
    assert every[0] is axes[1]
    assert plt.get_fignums() == [figure.number]
    assert axes[1].get_title() == "A title"
    assert every[-1].get_xlabel()
    assert all(each.get_ylabel() for each in every) or name == "coverage_plot"
    assert not axes[0].has_data()


def test_what_recordings_and_analyses_return_can_be_drawn_as_it_is() -> None:
    night = pm.open_recording(pm.sample())
    token = night.token("will-it-rain-in-london-on-new-years-eve", "Yes")
    prices = night.scan("prices", token=token).collect()
    books = night.depth(token, every="1s")

    plots.spread_by_hour(night.prices(every="1s"), every="1m")
    upper, _ = plots.depth_over_time(analysis.ladder_measures(books))
    plots.depth_profile(books)
    plots.impact_plot(books)
    plots.order_flow_regression(analysis.order_flow_imbalance(prices, "5s", gaps=night.gaps))
    plots.signature_plot(analysis.signature(prices, gaps=night.gaps))

    lost = books.filter(pl.col("quality") == "stale")
    assert lost.height > 0
    _, y = points(upper, 0)
    assert np.isnan(y[:-1]).sum() == lost.height


def test_ladders_of_several_tokens_are_a_line_each() -> None:
    night = pm.open_recording(pm.sample())
    market = night.markets[0]
    both = pl.concat([night.depth(market.slug, "5s", outcome=name) for name in market.outcomes])

    for ax in (plots.depth_profile(both), plots.impact_plot(both)):
        named = [line.get_label() for line in ax.lines if not str(line.get_label()).startswith("_")]
        assert [name for name in market.outcomes if any(name in str(label) for label in named)] == market.outcomes
    measured = analysis.ladder_measures(both)
    assert len(plots.spread_by_hour(measured, every="1m").lines) == 2
    with pytest.raises(ValueError, match="the rows are of 2 tokens"):
        plots.depth_over_time(measured)
    assert analysis.slippage_curve(both, [10])["outcome"].to_list() == [*market.outcomes, *market.outcomes]


def test_a_gap_that_was_left_out_of_windows_is_not_drawn() -> None:
    prices = mids([(100 * at, 0.5 + 0.01 * (at % 3)) for at in range(300)])
    hole = gaps([(9_000, 15_500)])

    flagged = plots.order_flow_regression(analysis.order_flow_imbalance(prices, "1s", gaps=hole))
    dropped = plots.order_flow_regression(analysis.order_flow_imbalance(prices, "1s", gaps=hole, touched="drop"))

    assert_array_equal(dots(flagged), dots(dropped))
    assert len(dots(flagged)) == 30 - 7


def test_times_of_another_zone_are_drawn_in_utc() -> None:
    frame = quotes([0, 60], [0.01, 0.02])
    moved = frame.with_columns(pl.col("time").dt.convert_time_zone("America/New_York"))

    here, there = (plots.spread_by_hour(each) for each in (frame, moved))

    assert_array_equal(points(here, 0)[0], points(there, 0)[0])
    assert frame["time"].dtype == TIME
    assert frame["time"][0] == datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
