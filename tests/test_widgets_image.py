"""The charts and tables made of Jupyter's own widgets, for front ends that load no script of ours."""

import asyncio
import inspect
import re
import struct
import threading
from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeAlias, cast

import comm
import numpy as np
import pytest
from PIL import Image
from support.page import Page
from support.waiting import wait_until
from test_widgets_canvas import draw, sample, watching

from pmlive import widgets
from pmlive.manager import Manager
from pmlive.manager.snapshots import Snapshot
from pmlive.widgets import image
from pmlive.widgets.figures import DepthPlot, PricePlot, new_figure
from pmlive.widgets.image import ImageRenderer
from pmlive.widgets.views import DepthView, PriceView

CHARTS: list[Callable[[Manager], image.ImageChart[Any]]] = [image.PriceChart, image.DepthChart, image.HeatMap]
PANELS: list[Callable[[Manager], image.HtmlTable]] = [
    image.Ladder,
    image.Tape,
    image.StatusPanel,
    image.RecordingPanel,
]
Pixels: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
OF_JUPYTER = {"@jupyter-widgets/base", "@jupyter-widgets/controls"}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """Open widgets on a page that keeps what it is sent."""
    opened = Page()
    monkeypatch.setattr(comm, "create_comm", opened.create_comm)
    return opened


def value_of(page: Page, widget: object) -> object:
    """Give the value that a front end has of a widget."""
    sent = page.of(widget).sent
    value: object = None
    for _, data, buffers in sent:
        state = cast("dict[str, object]", data.get("state", {}))
        if "value" in state or ["value"] in cast("list[object]", data.get("buffer_paths", [])):
            value = state.get("value") or b"".join(buffers)
    return value


def pixels(picture: bytes) -> Pixels:
    return np.asarray(Image.open(BytesIO(picture)).convert("RGB"))


def alike(one: Pixels, other: Pixels) -> bool:
    """Tell whether two pictures are the same but for the choice of their colours."""
    return int(np.abs(one.astype(int) - other.astype(int)).max()) < 20


def greyed(picture: Pixels) -> bool:
    """Tell whether a chart says that it cannot be trusted."""
    return bool((np.abs(picture[60].astype(int) - 0xE9) < 8).mean() > 0.3)


def until_sent(page: Page, widget: object, times: int) -> None:
    """Wait for so many more messages."""
    there = len(page.of(widget).sent)
    wait_until(lambda: len(page.of(widget).sent) >= there + times)


# --- what a browser gets ---


def test_a_dashboard_of_pictures_asks_for_no_script_but_jupyter_s_own(page: Page) -> None:
    with sample() as replay:
        dashboard = replay.dashboard(charts="image")

        opened = [cast("dict[str, dict[str, object]]", each.sent[0][1])["state"] for each in page.comms.values()]
        modules = {
            str(state[name]) for state in opened for name in ("_model_module", "_view_module") if state.get(name)
        }
        assert modules == OF_JUPYTER
        assert {type(one).__module__ for one in (dashboard.price, dashboard.tape)} == {"pmlive.widgets.image"}
        assert len(dashboard.figure().axes) == 3
    assert dashboard.closed


def test_a_dashboard_of_anything_else_is_refused() -> None:
    with sample() as replay, pytest.raises(ValueError, match="neither 'canvas' nor 'image'"):
        replay.dashboard(charts="svg")  # pyright: ignore[reportArgumentType]


# How often each is drawn at most, unless a rate is given: by the browser, and as a picture.
RATES = {
    "PriceChart": (10, 5),
    "CandleChart": (2, 2),
    "OutcomesChart": (5, 2),
    "HeatMap": (2, 2),
    "DepthChart": (10, 5),
    "Ladder": (5, 5),
    "Tape": (4, 4),
    "StatusPanel": (1, 1),
    "RecordingPanel": (1, 1),
}


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", sorted(RATES))
def test_both_backends_take_the_same_and_have_rates_of_their_own(name: str) -> None:
    kinds = [getattr(widgets, name), getattr(image, name)]

    assert set(image.__all__) >= RATES.keys()
    assert inspect.signature(kinds[0]) == inspect.signature(kinds[1])
    with sample() as replay:
        assert [1 / kind(replay).every for kind in kinds] == pytest.approx(RATES[name])
        assert [1 / kind(replay, rate=8).every for kind in kinds] == pytest.approx([8, 8])
        with pytest.raises(ValueError, match="not between 0 and 30"):
            kinds[1](replay, rate=60)


class SeenPrice(image.PriceChart):
    """A chart over time that tells its view."""

    @property
    def seen(self) -> PriceView:
        return self._last_view


class SeenDepth(image.DepthChart):
    """A chart of something else that tells its view."""

    @property
    def seen(self) -> DepthView:
        return self._last_view


def test_only_charts_over_time_have_all_of_their_margin_ahead(page: Page) -> None:
    with sample(paused=False) as replay:
        yes = replay.markets[0].token_ids[0]
        price, depth = SeenPrice(replay, yes, window=30), SeenDepth(replay, yes)

        over_time = ImageRenderer(PricePlot, over_time=True).draw(price.seen)
        beside = ImageRenderer(DepthPlot, over_time=False).draw(depth.seen)
        assert (value_of(page, price), value_of(page, depth)) == (over_time, beside)
        assert over_time != ImageRenderer(PricePlot, over_time=False).draw(price.seen)
        assert beside != ImageRenderer(DepthPlot, over_time=True).draw(depth.seen)


@pytest.mark.parametrize("name", ["PriceChart", "CandleChart", "OutcomesChart", "HeatMap", "DepthChart"])
def test_the_documentation_of_a_chart_says_how_often_it_is_drawn(name: str) -> None:
    words = {5: "five", 2: "two"}

    assert f"30 at most; by default {RATES[name][0]}." in (inspect.getdoc(getattr(widgets, name)) or "")
    assert f"by default {words[RATES[name][1]]} a second" in (inspect.getdoc(getattr(image, name)) or "")


@pytest.mark.quick(1)
@pytest.mark.parametrize("make", CHARTS)
def test_a_chart_is_a_png_from_the_first_moment_on(
    page: Page, make: Callable[[Manager], image.ImageChart[Any]]
) -> None:
    with sample() as replay:
        chart = make(replay)

        picture = cast("bytes", value_of(page, chart))

        assert struct.unpack(">II", picture[16:24]) == (900, 290)
        assert (pixels(picture).min(axis=2) < 200).sum() > 3000


def test_a_picture_grows_as_the_market_does(page: Page) -> None:
    with watching() as (sim, manager):
        chart = image.PriceChart(manager, sim.markets[0].token_ids[0], rate=30)
        before = value_of(page, chart)

        until_sent(page, chart, 5)

        assert value_of(page, chart) != before


def test_pages_have_what_tables_have(page: Page) -> None:
    with sample() as replay:
        said = [str(value_of(page, make(replay))) for make in PANELS]

    assert "Will the Fed cut rates by 25 bps in December? - Yes" in re.sub("<[^>]*>", "", said[0])
    assert "8 of 8 books trusted" in said[2]
    assert "nothing is recorded" in said[3]


def test_what_stands_still_is_not_sent_again(page: Page) -> None:
    with sample() as replay:
        widgets = [make(replay) for make in (*CHARTS, *PANELS)]
        sent = [len(page.of(widget).sent) for widget in widgets]

        for widget in widgets:
            draw(widget)

        assert [len(page.of(widget).sent) for widget in widgets] == sent


def test_another_token_is_drawn_next(page: Page) -> None:
    with sample() as replay:
        chart = image.PriceChart(replay, replay.markets[0].token_ids[0], rate=30)
        before = value_of(page, chart)

        chart.token_id = replay.markets[1].token_ids[0]
        until_sent(page, chart, 1)

        assert value_of(page, chart) != before
        assert chart.label != "Will the Fed cut rates by 25 bps in December? - Yes"


class Broken(image.HtmlTable):
    """A page that cannot be made after the first time."""

    drawn = 0

    def _html(self, snapshot: Snapshot) -> str:
        del snapshot
        self.drawn += 1
        if self.drawn > 1:
            raise ValueError("<b>no</b>")
        return "first"


class BrokenPicture(image.DepthChart):
    """A picture that cannot be made after the first time."""

    drawn = 0

    def _view(self, snapshot: Snapshot) -> DepthView:
        self.drawn += 1
        if self.drawn > 1:
            raise ValueError("no")
        return super()._view(snapshot)


def test_an_error_is_shown_under_a_table_and_on_a_picture(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    with watching() as (_, manager):
        broken, picture = Broken(manager, rate=30), BrokenPicture(manager, rate=30)

        wait_until(lambda: "ValueError: &lt;b&gt;no&lt;/b&gt;" in str(value_of(page, broken)))
        wait_until(lambda: greyed(pixels(cast("bytes", value_of(page, picture)))))
        assert str(value_of(page, broken)).startswith("first<p style=")
        assert len(caplog.records) == 2


@pytest.mark.quick(2)
@pytest.mark.parametrize("make", [*CHARTS, *PANELS])
def test_it_is_closed_and_leaves_no_thread(make: Callable[[Manager], image.ImageWidget[Any]]) -> None:
    with sample() as replay:
        widget = make(replay)
        widget.close()

        assert "pmlive charts" not in [thread.name for thread in threading.enumerate()]
        assert "closed" in repr(widget)


# --- drawing in a cell ---


class Noting(image.StatusPanel):
    """A page that notes which threads make it."""

    def __init__(self, manager: Manager) -> None:
        self.makers: list[str] = []
        super().__init__(manager, rate=30)

    def _html(self, snapshot: Snapshot) -> str:
        self.makers.append(threading.current_thread().name)
        return super()._html(snapshot)


def makers_within(noting: Noting, work: Callable[[], object]) -> set[str]:
    """List who made pages while something was done, but for one that the charts' thread was making when it began."""
    noting.makers.clear()
    work()
    makers = list(noting.makers)
    return set(makers[makers[:1] == ["pmlive charts"] :])


def test_a_cell_draws_by_itself_for_as_long_as_it_is_told_to(page: Page) -> None:
    with watching() as (_, manager):
        dashboard, noting = manager.dashboard(charts="image"), Noting(manager)
        assert makers_within(noting, lambda: until_sent(page, noting, 3)) == {"pmlive charts"}

        assert makers_within(noting, lambda: dashboard.draw_for(1.0)) == {"MainThread"}
        assert makers_within(noting, lambda: asyncio.run(dashboard.draw_for_async(1.0))) == {"MainThread"}

        noting.makers.clear()
        wait_until(lambda: set(noting.makers) == {"pmlive charts"})


def test_drawing_in_a_cell_ends_with_the_manager(page: Page) -> None:
    with watching() as (_, manager):
        dashboard = manager.dashboard(charts="image")
        until_sent(page, dashboard.price, 1)
        ender = threading.Timer(0.3, manager.close)
        ender.start()

        dashboard.draw_for(600.0)

        ender.join()
        assert dashboard.closed


# --- the renderer ---


def view(now: float, price: float = 0.5) -> PriceView:
    times = np.arange(now - 5000.0, now, 100.0)
    prices = np.full_like(times, price)
    return {
        "label": "A",
        "doubt": "",
        "now": now,
        "window": 10_000.0,
        "times": times,
        "bids": prices - 0.01,
        "asks": prices + 0.01,
        "mids": prices,
        "trade_times": times[:3],
        "trade_prices": prices[:3],
        "trade_sizes": np.ones(3),
        "trade_buys": np.ones(3),
        "gap_starts": times[:1],
        "gap_ends": times[1:2],
        "gap_causes": ["silence"],
    }


def test_nothing_is_left_of_what_was_drawn_before() -> None:
    renderer = ImageRenderer(PricePlot, over_time=True)
    first = renderer.draw(view(1e9))

    second = renderer.draw(view(1e9, 0.504))

    assert second != first
    assert renderer.draw(view(1e9)) == first


def test_what_stands_still_is_drawn_anew_when_it_changes() -> None:
    renderer = ImageRenderer(PricePlot, over_time=True)
    first = pixels(renderer.draw(view(1e9)))

    renamed = pixels(renderer.draw({**view(1e9), "label": "B"}))
    doubted = pixels(renderer.draw({**view(1e9), "doubt": "lost"}))

    assert (renamed[:30] != first[:30]).any()
    assert alike(renamed[40:], first[40:])
    assert greyed(doubted)


def test_axes_follow_what_is_shown() -> None:
    renderer = ImageRenderer(PricePlot, over_time=True)
    here = renderer.draw(view(1e9, 0.5))

    renderer.draw(view(1e9 + 60_000, 0.7))
    moved = pixels(renderer.draw(view(1e9 + 60_000, 0.7)))

    again = pixels(here)
    # The same picture but for the numbers beside the axes.
    assert alike(moved[40:230, 90:880], again[40:230, 90:880])
    assert not alike(moved, again)


def test_a_spike_among_very_many_points_is_seen() -> None:
    def spiked(price: float) -> PriceView:
        times = np.linspace(0.0, 300_000.0, 20_000)
        asks = np.full_like(times, 0.51)
        asks[9_001] = price
        empty = np.array([])
        return {
            **view(300_000.0),
            "window": 300_000.0,
            "times": times,
            "bids": np.full_like(times, 0.49),
            "asks": asks,
            "mids": np.full_like(times, 0.5),
            "trade_times": empty,
            "trade_prices": empty,
            "trade_sizes": empty,
            "trade_buys": empty,
        }

    plot = PricePlot(new_figure()[1][0])

    assert plot.update(spiked(0.9)).high == pytest.approx(0.9 + 0.08 * (0.9 - 0.49))
    assert ImageRenderer(PricePlot, over_time=True).draw(spiked(0.9)) != ImageRenderer(PricePlot, over_time=True).draw(
        spiked(0.51)
    )


def test_a_side_that_is_empty_for_a_while_is_a_hole_in_the_band() -> None:
    its = view(1e9)
    bids = its["bids"].copy()
    bids[10:20] = np.nan
    axes = new_figure()[1][0]

    PricePlot(axes).update({**its, "bids": bids})

    before, after = [np.asarray(path.vertices)[:, 0] for path in axes.collections[0].get_paths()]
    assert before.max() < after.min()
