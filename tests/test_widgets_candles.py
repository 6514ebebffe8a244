"""Candles against pandas and against the bars of the analyses, whole and as rows come, and the charts of them."""

# pandas comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false, reportUnknownLambdaType=false
# pyright: reportReturnType=false

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import comm
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from support.examples import examples
from support.page import Page
from support.waiting import wait_until
from test_widgets_canvas import followed, sample, watching
from test_widgets_views import gap, rows

import pmlive as pm
from pmlive.analysis import OhlcArrays, ohlc, ohlc_arrays, touched_by, trade_bars
from pmlive.manager import Manager
from pmlive.widgets import CandleChart, image
from pmlive.widgets.base import ManagerWidget
from pmlive.widgets.candles import (
    CLOSE,
    OPEN,
    START,
    TOUCHED,
    VOLUME,
    Candles,
    CandleView,
    Measured,
    append_candles,
    candle_view,
)
from pmlive.widgets.charts import BaseCandleChart
from pmlive.widgets.figures import new_figure, png
from pmlive.widgets.more_figures import CandlePlot
from pmlive.widgets.render_loop import render_loop_of
from pmlive.widgets.views import Numbers

MS = 1_000_000
# All times of the examples are whole seconds up to here, and a candle is this long.
END, LENGTH = 60, 7
KINDS: list[Callable[..., BaseCandleChart]] = [CandleChart, image.CandleChart]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """Open widgets on a page that keeps what it is sent."""
    opened = Page()
    monkeypatch.setattr(comm, "create_comm", opened.create_comm)
    return opened


class Told(NamedTuple):
    """Mids by second (None where a side is empty), trades (second, price, size), gaps, and where rows are parted."""

    mids: list[tuple[int, float | None]]
    trades: list[tuple[int, float, float]]
    gaps: list[tuple[int, int | None]]
    cuts: list[int]


second = st.integers(0, END)
prices = st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5])
tales = st.builds(
    Told,
    st.lists(st.tuples(second, st.none() | prices), max_size=25).map(lambda rows: sorted(rows, key=lambda row: row[0])),
    st.lists(st.tuples(second, prices, st.sampled_from([1.0, 8.0])), max_size=15).map(
        lambda rows: sorted(rows, key=lambda row: row[0])
    ),
    st.lists(st.tuples(second, st.none() | st.integers(0, 20)), max_size=4),
    st.lists(second, max_size=5).map(sorted),
)


def frames(told: Told) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    mids = [{"ts_recv": at * 1000 * MS, "token_id": "1", "mid": mid, "conn": 7} for at, mid in told.mids]
    trades = [
        {"ts_recv": at * 1000 * MS, "token_id": "1", "price": price, "size": size, "side": "buy", "conn": 7}
        for at, price, size in told.trades
    ]
    lost = [gap(start, None if long is None else start + long) for start, long in told.gaps]
    return rows("prices", mids), rows("trades", trades), rows("gaps", lost)


def whole(told: Told, of: Measured = "mid", until: int = END) -> Numbers:
    prices, trades, gaps = frames(told)
    made, forming = Candles("1", LENGTH * 1000 * MS, of=of).take(prices, trades, gaps, until * 1000 * MS)
    return np.concatenate([made, forming])


def in_parts(told: Told, of: Measured = "mid") -> Numbers:
    """Make candles of rows that come in parts, while all gaps are known from the beginning."""
    prices, trades, gaps = frames(told)
    candles = Candles("1", LENGTH * 1000 * MS, of=of)
    forming: Numbers = np.empty((0, 7))
    found = [forming]
    for begin, end in zip([-1, *told.cuts], [*told.cuts, END], strict=True):
        part = pl.col("ts_recv").dt.epoch("s").is_between(begin, end, closed="right")
        made, forming = candles.take(prices.filter(part), trades.filter(part), gaps, end * 1000 * MS)
        found.append(made)
    return np.concatenate([*found, forming])


def by_pandas(told: Told) -> pd.DataFrame:
    """Make candles of the mid that stood in each half second, none in a gap."""
    halves = pd.Index(np.arange(0, END + 0.5, 0.5))
    numbers = pd.Series(range(len(told.mids)), index=[float(at) for at, _ in told.mids], dtype=float)
    last = numbers[~numbers.index.duplicated(keep="last")].reindex(halves, method="ffill")
    stood = last.map(lambda at: np.nan if pd.isna(at) else told.mids[int(at)][1]).astype(float)
    for start, long in told.gaps:
        stood[(halves >= start) & (halves < (np.inf if long is None else start + long))] = np.nan
    return stood.dropna().groupby(lambda half: half // LENGTH * LENGTH).agg(["first", "max", "min", "last"])


@examples(40)
@given(tales)
def test_a_candle_of_the_mid_has_what_stood_outside_of_gaps(told: Told) -> None:
    candles = whole(told)

    expected = by_pandas(told)
    priced = candles[np.isfinite(candles[:, OPEN])]
    assert (priced[:, START] / 1000).tolist() == expected.index.tolist()
    assert priced[:, OPEN : CLOSE + 1].tolist() == expected.to_numpy().tolist()


@examples(40)
@given(tales, st.sampled_from(["mid", "trade"]))
def test_candles_are_the_same_however_rows_come(told: Told, of: Measured) -> None:
    np.testing.assert_array_equal(in_parts(told, of), whole(told, of))


@examples(40)
@given(tales)
def test_candles_of_trades_are_the_bars_of_trades_outside_of_gaps(told: Told) -> None:
    _, trades, gaps = frames(told)

    candles, of_mids = whole(told, "trade"), whole(told)

    if trades.is_empty():
        assert len(candles) == 0
        return
    bars = trade_bars(trades, f"{LENGTH}s", gaps=gaps, touched="exclude").filter(pl.col("volume") > 0)
    expected = bars.select(pl.col("start").dt.epoch("ms"), "open", "high", "low", "close", "volume").to_numpy()
    assert candles[:, : VOLUME + 1].tolist() == expected.tolist()
    sold = of_mids[of_mids[:, VOLUME] > 0]
    assert sold[:, [START, VOLUME]].tolist() == expected[:, [0, 5]].tolist()


@examples(40)
@given(tales)
def test_candles_that_a_gap_touches_are_those_that_the_analyses_name(told: Told) -> None:
    candles = whole(told)

    starts = pl.Series(candles[:, START]).cast(pl.Int64).cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("ns", "UTC"))
    intervals = pl.DataFrame({"start": starts}).with_columns(
        token_id=pl.lit("1"), end=pl.col("start") + pl.duration(seconds=LENGTH)
    )
    expected = touched_by(intervals, frames(told)[2])
    assert (candles[:, TOUCHED] > 0).tolist() == expected.to_list()


@examples(40)
@given(st.lists(st.tuples(second, prices), min_size=1, max_size=20).map(sorted), st.integers(1, 30))
def test_bars_of_arrays_are_those_of_frames(told: list[tuple[int, float]], length: int) -> None:
    times, values = np.array([at for at, _ in told]) * 1000 * MS, np.array([value for _, value in told])
    frame = pl.DataFrame({"token_id": "1", "ts_recv": times, "price": values})

    found = ohlc_arrays(times, values, length * 1000 * MS)

    expected = ohlc(frame, f"{length}s", quotes=pl.len()).sort("start")
    assert found.starts.tolist() == expected["start"].to_physical().to_list()
    columns = (found.open, found.high, found.low, found.close)
    assert [column.tolist() for column in columns] == [expected[name].to_list() for name in OhlcArrays._fields[2:]]
    assert np.diff(found.first, append=len(times)).tolist() == expected["quotes"].to_list()


def test_of_very_many_rows_a_forming_candle_is_right() -> None:
    times = np.arange(50_000)
    mids = 0.5 + 0.4 * np.sin(times / 700)
    told = Told([], [], [(12, 3)], [])
    _, trades, gaps = frames(told)
    given = pl.DataFrame({"ts_recv": times * MS, "token_id": "1", "mid": mids}).cast(
        {"ts_recv": pl.Datetime("ns", "UTC")}
    )
    candles, forming = Candles("1", 3600 * 1000 * MS), np.empty((0, 7))

    for part in range(0, 50_000, 700):
        _, forming = candles.take(given[part : part + 700], trades, gaps, int(times[min(part + 699, 49_999)]) * MS)

    outside = mids[(times < 12_000) | (times >= 15_000)]
    assert forming[:, OPEN : CLOSE + 1].tolist() == [[mids[0], outside.max(), outside.min(), mids[-1]]]
    assert candles.kept < 2_000


def test_a_gap_that_is_known_later_or_ends_earlier_than_was_looked_at_asks_for_everything_anew() -> None:
    prices, trades, gaps = frames(Told([(0, 0.4), (20, 0.5)], [], [(30, None)], []))
    candles = Candles("1", LENGTH * 1000 * MS)
    candles.take(prices, trades, gaps, 50_000 * MS)

    assert candles.agree(gaps)
    assert candles.agree(pl.concat([gaps, rows("gaps", [gap(50, None)])]))
    assert not candles.agree(pl.concat([gaps, rows("gaps", [gap(10, 12)])]))
    assert not candles.agree(rows("gaps", [gap(30, 40)]))
    assert candles.agree(rows("gaps", [gap(30, 50)]))
    assert candles.agree(pl.concat([gaps, rows("gaps", [gap(1, 2, token="2")])]))


def test_a_window_has_no_candles_before_it() -> None:
    prices, trades, gaps = frames(Told([(0, 0.4)], [], [], []))

    made, forming = Candles("1", LENGTH * 1000 * MS, window=20_000 * MS).take(prices, trades, gaps, END * 1000 * MS)

    assert made[:, START].tolist() == [35_000, 42_000, 49_000]
    assert forming[:, START].tolist() == [56_000]


@pytest.mark.parametrize(
    ("length", "text"), [(60_000, "1m"), (90_000, "1m30s"), (250, "250ms"), (86_400_000, "1d"), (1_250, "1s250ms")]
)
def test_an_interval_is_written_as_it_may_be_given(length: int, text: str) -> None:
    assert Candles("1", length * MS).every == text


# --- the charts ---


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(("options", "said"), [({"every": "0s"}, "longer than nothing"), ({"of": "ask"}, "'trade'")])
def test_what_cannot_be_a_candle_is_refused(
    make: Callable[..., BaseCandleChart], options: dict[str, object], said: str
) -> None:
    with sample() as replay, pytest.raises(ValueError, match=said):
        make(replay, **options)


def shown(chart: BaseCandleChart) -> CandleView:
    """Return what is drawn."""
    return getattr(chart, "_last_view")  # noqa: B009  # nobody else asks for it


def matrix(numbers: Sequence[float]) -> Numbers:
    return np.array(numbers).reshape(-1, 7)


def test_a_browser_that_follows_candles_has_those_of_the_manager_s_rows(page: Page) -> None:
    with watching() as (sim, manager):
        token = sim.markets[0].token_ids[0]
        chart = CandleChart(manager, token, every="1s", rate=30)
        page.of(chart).say(kind="here", view="a")
        wait_until(lambda: len(followed(page, chart).arrays["candles"]) > 4 * 7)

        there = matrix(followed(page, chart).arrays["candles"])

        kinds = [message["kind"] for message, _ in page.of(chart).messages]
        assert kinds.count("append") >= len(kinds) - 1
        made, _ = Candles(token, 1000 * MS).take(
            manager.prices, manager.trades, manager.gaps, int(there[-1, START]) * MS
        )
        assert len(there) > 4
        np.testing.assert_array_equal(there[:-1], made[: len(there) - 1])


def test_a_gap_of_the_past_touches_candles_that_were_sent(page: Page) -> None:
    with watching() as (sim, manager):
        chart = CandleChart(manager, sim.markets[0].token_ids[0], every="1s", rate=30)
        page.of(chart).say(kind="here", view="a")
        wait_until(lambda: len(followed(page, chart).arrays["candles"]) > 3 * 7)

        sim.fault("drop", channel="market")

        wait_until(lambda: 1.0 in matrix(followed(page, chart).arrays["candles"])[:, TOUCHED])


def test_another_token_has_candles_of_its_own(page: Page) -> None:
    with sample() as replay:
        yes, no = replay.markets[1].token_ids
        chart = CandleChart(replay, yes, every="5s", window=None, rate=30)
        page.of(chart).say(kind="here", view="a")
        before = matrix(followed(page, chart).arrays["candles"])

        chart.token_id = no

        wait_until(lambda: str(followed(page, chart).values["label"]).endswith("- No"))  # noqa: PD011  # it is no frame
        after = matrix(followed(page, chart).arrays["candles"])
        np.testing.assert_allclose(after[:, OPEN], 1 - before[:, OPEN], atol=0.02)


def test_a_chart_of_candles_sends_little(page: Page) -> None:
    with watching(rate=500) as (sim, manager):
        chart = CandleChart(manager, sim.markets[0].token_ids[0], every="1s", rate=30)
        page.of(chart).say(kind="here", view="a")
        wait_until(lambda: len(page.of(chart).messages) > 20)

        sizes = [len(buffer) for message, buffer in page.of(chart).messages if message["kind"] == "append"]

    # A row of seven numbers for the candle that is forming, and seldom one for the one that is over.
    assert sorted(sizes)[len(sizes) // 2] == 7 * 8


@pytest.mark.quick(2)
@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("of", ["mid", "trade"])
def test_a_chart_of_candles_is_a_figure(make: Callable[..., BaseCandleChart], of: str) -> None:
    with sample() as replay:
        chart = make(replay, every="5s", window=None, of=of)
        picture = png(chart.figure())

    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 8_000
    assert png(chart.figure()) == picture
    assert repr(chart).startswith("<CandleChart of simulated: Will the Fed")


def test_a_picture_of_candles_continues_the_one_before() -> None:
    with sample(paused=True) as replay:
        chart = image.CandleChart(replay, every="5s", window=None)
        replay.resume()
        wait_until(lambda: replay.finished)
        expected = shown(image.CandleChart(replay, every="5s", window=None))

        def is_the_same() -> bool:
            return all(
                np.array_equal(shown(chart)[name], expected[name], equal_nan=True) for name in ("candles", "forming")
            )

        # Only the render loop draws: two threads would both append what is new.
        wait_until(is_the_same)


@pytest.mark.parametrize("make", [image.CandleChart, image.OutcomesChart])
def test_a_gap_that_is_told_late_has_everything_sent_anew(make: Callable[..., ManagerWidget[Any]]) -> None:
    with sample() as replay:
        token = replay.markets[0].token_ids[0]
        chart = make(replay, token)
        # Nobody else is to ask for what is new.
        render_loop_of(replay).remove(chart)

        def drawn(gaps: pl.DataFrame) -> bool:
            """Draw, and return whether the next drawing asks for everything."""
            (snapshot,) = replay.snapshots([chart.request(0.0)])
            chart.render(msgspec.structs.replace(snapshot, gaps=gaps), 0.0)
            return None in chart.request(0.0).tables.values()

        known = replay.gaps
        began = replay.prices["ts_recv"].min()
        late = known.head(1).with_columns(
            token_id=pl.lit(token), started=pl.lit(began), ended=pl.lit(began) + pl.duration(seconds=3)
        )
        assert [drawn(known), drawn(pl.concat([known, late.cast(known.schema)]))] == [False, True]


def test_rising_falling_and_doubtful_candles_are_drawn_apart() -> None:
    prices, trades, gaps = frames(Told([(1, 0.2), (2, 0.4), (8, 0.3), (16, 0.1)], [(3, 0.3, 5.0)], [(15, 1)], []))
    view = candle_view(Candles("1", LENGTH * 1000 * MS), prices, trades, gaps, label="A", now_ms=17_000.0)
    axes = new_figure()[1][0]

    plot = CandlePlot(axes)
    extent = plot.update(view)

    rose, fell, touched = [len(boxes.get_paths()) for boxes in plot.artists[3:6]]  # pyright: ignore[reportAttributeAccessIssue]
    assert (rose, fell, touched) == (1, 1, 1)
    assert [len(boxes.get_paths()) for boxes in plot.artists[6:9]] == [1, 0, 0]  # pyright: ignore[reportAttributeAccessIssue]
    assert extent.low < 0.1
    assert extent.high > 0.4


def test_volumes_have_a_round_number_beside_them_at_its_height_and_prices_have_theirs_above() -> None:
    trades = [(1, 0.3, 7_420.0), (9, 0.3, 5_000.0)]
    prices, traded, gaps = frames(Told([(1, 0.2), (2, 0.4), (8, 0.3)], trades, [], []))
    figure, (axes,) = new_figure()
    plot = CandlePlot(axes)

    plot.draw(candle_view(Candles("1", LENGTH * 1000 * MS), prices, traded, gaps, label="A", now_ms=17_000.0))

    png(figure)
    found = [text for text in axes.texts if text.get_text() in {"0", "5k"} and text.get_visible()]
    zero, five = sorted(found, key=lambda text: text.get_window_extent().y0)
    assert [zero.get_text(), five.get_text()] == ["0", "5k"]
    # The second candle traded as many.
    bar = plot.artists[8] if len(plot.artists[8].get_paths()) else plot.artists[7]  # pyright: ignore[reportAttributeAccessIssue]
    tops = sorted(path.get_extents().y1 for path in bar.get_paths())  # pyright: ignore[reportAttributeAccessIssue]
    box = five.get_window_extent()
    assert (box.y0 + box.y1) / 2 == pytest.approx(axes.transAxes.transform((0, tops[0]))[1], abs=1.5)
    # No mark of a price is beside volumes.
    assert min(axes.get_yticks()) > 0.19
    assert all(label.get_text() for label in axes.get_yticklabels())


def test_nothing_traded_has_no_numbers_of_shares() -> None:
    prices, traded, gaps = frames(Told([(1, 0.2), (2, 0.4)], [], [], []))
    axes = new_figure()[1][0]

    CandlePlot(axes).update(
        candle_view(Candles("1", LENGTH * 1000 * MS), prices, traded, gaps, label="A", now_ms=17_000.0)
    )

    assert [text.get_text() for text in axes.texts if text.get_visible() and text.get_text()] == ["nothing traded"]


def test_candles_that_are_appended_end_with_the_one_that_is_forming() -> None:
    prices, trades, gaps = frames(Told([(1, 0.2), (9, 0.4)], [], [], []))
    candles = Candles("1", LENGTH * 1000 * MS)
    first = candle_view(candles, prices[:1], trades, gaps, label="A", now_ms=2_000.0)

    then = append_candles(first, candle_view(candles, prices[1:], trades, gaps, label="A", now_ms=15_000.0), most=9)

    assert then["candles"][:, [START, OPEN, CLOSE]].tolist() == [[0, 0.2, 0.2], [7_000, 0.2, 0.4]]
    assert then["forming"][:, [START, OPEN, CLOSE]].tolist() == [[14_000, 0.4, 0.4]]


def test_nothing_makes_no_candle(page: Page) -> None:
    with sample(paused=True) as replay:
        chart = CandleChart(cast("Manager", replay), of="trade")
        there = followed(page, chart)

        assert there.arrays["candles"] == there.arrays["forming"] == []


def test_a_marked_price_is_marked_among_candles_but_not_in_their_volumes() -> None:
    with sample() as replay:
        chart = CandleChart(replay, every="5s")
        for price, is_shown in ((0.15, True), (0.001, False)):
            chart.marked = price
            axes = chart.figure().axes[0]
            assert [text.get_text() for text in axes.texts if text.get_visible() and "marked" in text.get_text()] == (
                [f"marked {price:.2f}"] if is_shown else []
            )


def test_the_words_over_candles_do_not_run_into_each_other_in_a_column() -> None:
    with sample() as replay:
        figure = CandleChart(replay, every="5s").figure(width="column")

    png(figure)
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    words = [each for each in axes.get_children() if isinstance(each, Text) and each.get_text()]
    assert axes.get_title("left") in [each.get_text() for each in words]
    assert not any(legend.get_window_extent().overlaps(each.get_window_extent()) for each in words)


def test_a_view_of_a_token_draws_its_candles() -> None:
    night = pm.open_recording(pm.sample())
    view = night["will-it-rain-in-london-on-new-years-eve", "Yes"]

    axes = view.plot(kind="candles", every="5s")

    assert axes.get_title(loc="left") == f"Candles \N{MIDDLE DOT} simulated: {view.label}"
    assert "5s of mid" in axes.get_xlabel()
    assert view.plot(axes, kind="candles") is axes
    with pytest.raises(ValueError, match="expected 'prices' or 'candles'"):
        view.plot(kind="bars")  # pyright: ignore[reportArgumentType]
