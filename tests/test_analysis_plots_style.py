"""The style of plots: sizes, colours for all eyes, and axes of times."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false

import importlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.testing import assert_allclose
from support.examples import examples
from support.eyes import SIGHTS, Floats, apart_1976, lab

from pmlive.analysis import plots

_START = datetime(2026, 11, 25, 22, 34, 53, tzinfo=UTC)


@pytest.fixture(autouse=True)
def figures_are_closed() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def difference(one: str, other: str, sight: Floats) -> float:
    return apart_1976(lab(one, sight), lab(other, sight))


# --- colours ---


def test_the_colour_space_is_known_by_its_corners() -> None:
    assert_allclose(lab("white", SIGHTS["normal"]), [100, 0, 0], atol=0.02)
    assert_allclose(lab("#ff0000", SIGHTS["normal"]), [53.24, 80.09, 67.20], atol=0.05)
    # What deuteranopes confuse, and what they do not.
    assert difference("#e06c5a", "#a39f5c", SIGHTS["deutan"]) < difference("#e06c5a", "#a39f5c", SIGHTS["normal"]) / 2
    assert difference("#0000ff", "#ffff00", SIGHTS["deutan"]) > 100


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_that_stand_side_by_side_are_told_apart_by_every_eye(sight: str) -> None:
    pairs = [(plots.BID, plots.ASK), *combinations(plots.SERIES, 2), *((each, "white") for each in plots.SERIES)]

    least = min(difference(one, other, SIGHTS[sight]) for one, other in pairs)

    assert least >= 30


def test_lines_of_up_to_25_tokens_all_look_different() -> None:
    frame = pl.DataFrame(
        {"token_id": [str(each) for each in range(25)], "step": timedelta(seconds=1), "rv": 0.1, "rv_logit": 0.2}
    )

    with plots.style("column"):
        ax = plots.signature_plot(frame)
        ax.figure.canvas.draw()

    assert len({(line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in ax.lines}) == 25
    told = ax.get_legend()
    assert told is not None
    box = told.get_window_extent()
    assert ax.get_window_extent().x1 <= box.x0 < box.x1 <= ax.figure.bbox.x1
    assert 0 <= box.y0 < box.y1 <= ax.figure.bbox.y1
    with pytest.raises(ValueError, match="the frame has 26 tokens, and no more than 25 lines can be told apart"):
        plots.signature_plot(pl.concat([frame, frame.head(1).with_columns(token_id=pl.lit("other"))]))


# --- style ---


def test_a_style_holds_for_a_block_and_leaves_everything_as_it_was() -> None:
    before, tables = dict(plt.rcParams), pl.Config.save()

    with plots.style("column"):
        inside = plt.rcParams["figure.figsize"]
        assert plt.rcParams["pdf.fonttype"] == 42
        assert "shape" not in str(pl.DataFrame({"a": [1]}))
        with plots.style("page", height=5.0):
            assert plt.rcParams["figure.figsize"] == [7.0, 5.0]
        assert plt.rcParams["figure.figsize"] == inside == [3.4, 2.4]

    assert dict(plt.rcParams) == before
    assert pl.Config.save() == tables
    assert "shape" in str(pl.DataFrame({"a": [1]}))


def test_a_style_holds_without_a_block_until_it_is_closed() -> None:
    before = dict(plt.rcParams)

    applied = plots.style()

    try:
        assert plt.subplots()[0].get_size_inches().tolist() == [7.0, 2.9]
        assert repr(applied) == "<Style of figures 7.0 inches wide>"
    finally:
        applied.close()
    assert dict(plt.rcParams) == before


def test_a_style_that_nobody_keeps_still_holds() -> None:
    with plots.style("page"):
        plots.style("column")
        assert plt.rcParams["figure.figsize"] == [3.4, 2.4]


def test_a_wrong_style_is_refused_and_changes_nothing() -> None:
    before = dict(plt.rcParams)

    with pytest.raises(ValueError, match="invalid width 'poster'; expected 'column' or 'page'"):
        plots.style("poster")  # pyright: ignore[reportArgumentType]  # that is the point
    with pytest.raises(ValueError, match=r"invalid height 0\.0; expected inches above 0"):
        plots.style(height=0.0)
    assert dict(plt.rcParams) == before


def test_letters_are_legible_in_print() -> None:
    for width in ("column", "page"):
        with plots.style(width):
            assert min(plt.rcParams["axes.labelsize"], plt.rcParams["xtick.labelsize"]) >= 7
            assert min(plt.rcParams["legend.fontsize"], plt.rcParams["ytick.labelsize"]) >= 7


# --- axes of times ---


def drawn(start: datetime, length: float) -> Axes:
    """Draw the coverage of one token over so many seconds."""
    end = start + timedelta(seconds=length)
    intervals = pl.DataFrame({"token_id": ["7"], "start": [start], "end": [end], "trusted": [True]})
    ax = plots.coverage_plot(intervals.cast({"start": pl.Datetime("ns", "UTC"), "end": pl.Datetime("ns", "UTC")}))
    ax.figure.canvas.draw()
    return ax


def ticks(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_xticklabels()]


def test_ticks_are_as_precise_as_they_need_to_be() -> None:
    with plots.style():
        axes = {length: drawn(_START, length) for length in (3, 90, 600, 5400, 36 * 3600, 12 * 86_400, 900 * 86_400)}

    assert ticks(axes[3]) == ["22:34:53.5", "22:34:54.0", "22:34:54.5", "22:34:55.0", "22:34:55.5"]
    assert ticks(axes[90]) == ["22:35:00", "22:35:15", "22:35:30", "22:35:45", "22:36:00", "22:36:15"]
    assert ticks(axes[600]) == ["22:36", "22:38", "22:40", "22:42", "22:44"]
    assert ticks(axes[5400]) == ["22:45", "23:00", "23:15", "23:30", "23:45", "26 Nov"]
    assert ticks(axes[36 * 3600]) == ["06:00", "12:00", "18:00", "27 Nov", "06:00"]
    assert ticks(axes[12 * 86_400]) == ["27 Nov", "29 Nov", "01 Dec", "03 Dec", "05 Dec", "07 Dec"]
    assert ticks(axes[900 * 86_400])[:2] == ["Jul 2027", "Jan 2028"]
    days = {length: ax.xaxis.get_offset_text().get_text() for length, ax in axes.items()}
    assert days == {
        3: "25 Nov 2026",
        90: "25 Nov 2026",
        600: "25 Nov 2026",
        5400: "25\N{EN DASH}26 Nov 2026",
        36 * 3600: "25\N{EN DASH}27 Nov 2026",
        12 * 86_400: "2026",
        900 * 86_400: "",
    }


def test_days_of_two_months_and_of_two_years_are_written_out() -> None:
    with plots.style():
        month, year = (drawn(datetime(2026, at, day, 22, tzinfo=UTC), 4 * 3600) for at, day in ((11, 30), (12, 31)))

    assert month.xaxis.get_offset_text().get_text() == "30 Nov \N{EN DASH} 1 Dec 2026"
    assert year.xaxis.get_offset_text().get_text() == "31 Dec 2026 \N{EN DASH} 1 Jan 2027"


@examples(25)
@given(
    start=st.integers(1_500_000_000, 1_900_000_000).map(lambda at: datetime.fromtimestamp(at + 0.25, UTC)),
    seconds=st.floats(-1, 8).map(lambda power: 10**power),
    width=st.sampled_from(("column", "page")),
)
def test_labels_of_times_are_apart_and_not_beyond_the_axis(start: datetime, seconds: float, width: plots.Width) -> None:
    with plots.style(width):
        ax = drawn(start, seconds)

    box = ax.get_window_extent()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    plt.close("all")
    assert boxes
    assert all(box.x0 - 1 <= each.x0 <= each.x1 <= box.x1 + 1 for each in boxes)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


# --- matplotlib, which may be missing ---


def test_without_matplotlib_the_analyses_are_there_and_the_plots_say_what_to_install() -> None:
    program = """
import sys
sys.modules["matplotlib"] = None
import pmlive.analysis
try:
    from pmlive.analysis import plots
except ImportError as error:
    print(error)
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=60)

    assert done.stdout.strip().startswith("pmlive.analysis.plots needs matplotlib")
    assert done.stdout.strip().endswith("run: pip install 'pmlive[jupyter]'")


def test_the_plots_are_imported_by_name_alone() -> None:
    assert importlib.import_module("pmlive.analysis.plots") is plots
    assert "plots" not in importlib.import_module("pmlive.analysis").__all__


def test_a_note_stands_once_in_each_figure_while_the_style_lasts() -> None:
    variances = pl.DataFrame({"step": [timedelta(seconds=1), timedelta(seconds=2)], "rv": [0.2, 0.1]})

    at = pl.Series([_START, _START + timedelta(hours=1)])
    interval = pl.DataFrame({"token_id": "7", "start": at[:1], "end": at[1:], "trusted": True})

    with plots.style(note="simulated"):
        figure, axes = plt.subplots(1, 2)
        for ax in axes:
            plots.signature_plot(variances, ax=ax, title="Bounce")
        alone = plots.signature_plot(variances)
        covered = plots.coverage_plot(interval)
    plain = plots.signature_plot(variances)

    assert [ax.get_title("right") for ax in figure.axes] == ["simulated", ""]
    assert [ax.get_title("left") for ax in figure.axes] == ["Bounce", "Bounce"]
    assert alone.get_title("right") == covered.get_title("right") == "simulated"
    assert plain.get_title("right") == ""
