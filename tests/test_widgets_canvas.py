"""Live widgets against the simulated venue and the sample recording, followed as a browser follows them."""

import asyncio
import re
import struct
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from html import unescape
from typing import Any, cast

import comm
import numpy as np
import polars as pl
import pytest
from support.feed import QUICK
from support.live import address
from support.page import Follower, Page, PageComm
from support.waiting import wait_until

import pmlive as pm
from pmlive.manager import Manager, Replay
from pmlive.manager.snapshots import Cursor, Query, Snapshot
from pmlive.sim import SimulatedVenue
from pmlive.widgets import CandleChart, DepthChart, HeatMap, Ladder, PriceChart, RecordingPanel, StatusPanel, Tape
from pmlive.widgets.base import ManagerWidget
from pmlive.widgets.canvas import LoopProbe
from pmlive.widgets.charts import BaseChart
from pmlive.widgets.figures import png
from pmlive.widgets.tables import CanvasTable

CHARTS: list[Callable[[Manager], BaseChart[Any]]] = [PriceChart, DepthChart, HeatMap]
PANELS: list[Callable[[Manager], CanvasTable]] = [Ladder, Tape, StatusPanel, RecordingPanel]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """Open widgets on a page that keeps what it is sent."""
    opened = Page()
    monkeypatch.setattr(comm, "create_comm", opened.create_comm)
    return opened


@contextmanager
def watching(rate: float = 300) -> Generator[tuple[SimulatedVenue, Manager]]:
    """Watch a simulated market, and see that no thread is left of it."""
    before = set(threading.enumerate())
    with SimulatedVenue(markets=1, rate=rate) as sim, Manager(address(sim), policy=QUICK) as manager:
        manager.watch(sim.markets[0].slug)
        manager.book(sim.markets[0].token_ids[0])
        yield sim, manager
    wait_until(lambda: set(threading.enumerate()) <= before, what="that no thread is left")


@contextmanager
def sample(*, paused: bool = False) -> Generator[Replay]:
    """Play the sample recording to its end, or stand at its beginning."""
    before = set(threading.enumerate())
    with Replay(pm.sample(), speed="max", paused=paused) as replay:
        yield replay
    wait_until(lambda: set(threading.enumerate()) <= before, what="that no thread is left")


def followed(page: Page, widget: ManagerWidget[Any]) -> Follower:
    """Follow a widget from its first message on."""
    _, opening, buffers = page.of(widget).sent[0]
    picture = dict(cast("dict[str, dict[str, object]]", opening["state"])["picture"])
    picture["buffer"] = b"".join(buffers)
    follower = Follower(picture)
    follower.take_all(page.of(widget))
    return follower


def until_drawn(comm: PageComm, times: int) -> None:
    """Wait for so many more messages."""
    there = len(comm.messages)
    wait_until(lambda: len(comm.messages) >= there + times)


def draw(widget: ManagerWidget[Any]) -> None:
    """Draw a widget once, as the render loop does."""
    now = time.monotonic()
    (snapshot,) = widget.manager.snapshots([widget.request(now)])
    widget.render(snapshot, now)


# --- what a browser gets ---


def test_a_new_chart_brings_its_first_picture_along(page: Page) -> None:
    with sample() as replay:
        token = replay.markets[0].token_ids[0]
        chart = PriceChart(replay, token)

        first = followed(page, chart)

        its = replay.prices.filter(pl.col("token_id") == token)
        assert first.values["label"] == "simulated: Will the Fed cut rates by 25 bps in December? - Yes"
        assert first.arrays["bids"] == its["best_bid"].to_list()
        assert len(first.arrays["gap_starts"]) == 1


@pytest.mark.parametrize("make", [PriceChart, CandleChart, HeatMap, DepthChart, Ladder])
def test_what_shows_a_market_that_is_resolved_says_so_and_who_won(make: Callable[..., Any], page: Page) -> None:
    with watching() as (sim, manager):
        market = sim.markets[0]
        widget = make(manager, (market.slug, "No"))
        page.of(widget).say(kind="here", view="a")
        assert widget.label == f"{market.question} - No"

        sim.resolve(market, winner="Yes")

        wait_until(lambda: followed(page, widget).values["label"] == f"resolved, Yes won: {market.question} - No")


def test_a_browser_that_follows_a_live_chart_has_what_the_manager_has(page: Page) -> None:
    with watching() as (sim, manager):
        token = sim.markets[0].token_ids[0]
        chart = PriceChart(manager, token, rate=30)
        page.of(chart).say(kind="here", view="a")
        wait_until(lambda: len(followed(page, chart).arrays["times"]) > 30)

        there = followed(page, chart)

        its = manager.prices.filter(pl.col("token_id") == token)
        assert there.missed == 0
        assert {message["kind"] for message, _ in page.of(chart).messages} == {"append"}
        assert there.arrays["asks"] == its["best_ask"].to_list()[: len(there.arrays["asks"])]


def test_a_heat_map_grows_by_slices(page: Page) -> None:
    with watching() as (sim, manager):
        chart = HeatMap(manager, sim.markets[0].token_ids[0], rate=30, window=60)
        page.of(chart).say(kind="here", view="a")
        wait_until(lambda: len(set(followed(page, chart).arrays["times"])) > 5)

        there = followed(page, chart)

        assert there.arrays["times"] == sorted(there.arrays["times"])
        assert len(there.arrays["sizes"]) == 20 * len(there.arrays["times"])


def test_a_browser_that_missed_a_message_asks_and_gets_everything(page: Page) -> None:
    with watching() as (sim, manager):
        chart = PriceChart(manager, sim.markets[0].token_ids[0], rate=30)
        page.of(chart).say(kind="here", view="a")
        wait_until(lambda: len(page.of(chart).messages) > 3)

        page.of(chart).say(kind="look", view="a")

        wait_until(lambda: "whole" in [message["kind"] for message, _ in page.of(chart).messages])
        (whole, buffer) = next(each for each in page.of(chart).messages if each[0]["kind"] == "whole")
        late = Follower({**whole, "buffer": buffer})
        late.take_all(page.of(chart))
        there = followed(page, chart)
        there.take_all(page.of(chart))
        late.take_all(page.of(chart))
        assert late.arrays["times"] == there.arrays["times"]


def test_what_stands_still_sends_nothing(page: Page) -> None:
    with sample() as replay:
        widgets = [make(replay) for make in (*CHARTS, *PANELS)]
        for widget in widgets:
            page.of(widget).say(kind="here", view="a")

        for widget in widgets:
            draw(widget)
            draw(widget)
            assert page.of(widget).messages == []


def test_nothing_is_sent_to_a_tab_that_is_hidden(page: Page) -> None:
    with watching() as (sim, manager):
        token = sim.markets[0].token_ids[0]
        chart, seen = PriceChart(manager, token, rate=30), PriceChart(manager, token, rate=30)
        page.of(chart).say(kind="visible", view="a", visible=False)
        until_drawn(page.of(seen), 2)
        sent = len(page.of(chart).messages)

        until_drawn(page.of(seen), 10)
        assert len(page.of(chart).messages) == sent

        page.of(chart).say(kind="visible", view="a", visible=True)
        wait_until(lambda: len(page.of(chart).messages) > sent)
        assert followed(page, chart).missed == 0


def test_a_chart_is_drawn_no_more_often_than_its_rate(page: Page) -> None:
    with watching(rate=500) as (sim, manager):
        chart = PriceChart(manager, sim.markets[0].token_ids[0], rate=5)
        page.of(chart).say(kind="here", view="a")
        began = time.monotonic()

        wait_until(lambda: len(page.of(chart).messages) >= 8)

        assert time.monotonic() - began >= 7 / 5 * 0.9


def test_the_picture_is_not_sent_beside_the_messages(page: Page) -> None:
    with watching() as (sim, manager):
        chart = PriceChart(manager, sim.markets[0].token_ids[0], rate=30)
        page.of(chart).say(kind="look", view="a")
        wait_until(lambda: "whole" in [message["kind"] for message, _ in page.of(chart).messages])

        assert not [state for state in page.of(chart).states if "picture" in state]
        assert cast("dict[str, object]", chart.picture)["number"] != 1


def test_a_replay_that_jumps_is_shown_anew(page: Page) -> None:
    with sample() as replay:
        chart = PriceChart(replay, rate=30)
        page.of(chart).say(kind="here", view="a")
        before = len(followed(page, chart).arrays["times"])

        replay.seek(replay.first_time + timedelta(seconds=30))

        wait_until(lambda: 0 < len(followed(page, chart).arrays["times"]) < before)
        wait_until(lambda: followed(page, chart).values["now"] == 1000 * int(replay.position.timestamp()))


def test_another_token_and_another_window_are_shown_from_the_next_drawing_on(page: Page) -> None:
    with sample() as replay:
        yes, no = replay.markets[1].token_ids
        chart = PriceChart(replay, yes, rate=30)
        page.of(chart).say(kind="here", view="a")

        chart.token_id = no
        wait_until(lambda: str(followed(page, chart).values["label"]).endswith("- No"))
        its = replay.prices.filter(pl.col("token_id") == no)
        wait_until(lambda: followed(page, chart).arrays["bids"] == its["best_bid"].to_list())

        chart.window = 20
        wait_until(lambda: followed(page, chart).values["window"] == 20_000)


def test_slices_become_longer_while_a_view_shows_more_than_the_window(page: Page) -> None:
    with pm.open_recording(pm.sample("evening")).replay(speed="max") as replay:
        chart = HeatMap(replay, rate=30, window=60)
        page.of(chart).say(kind="here", view="a")
        fine = followed(page, chart)

        page.of(chart).say(kind="reach", view="a", seconds=3600)

        wait_until(lambda: followed(page, chart).values["slice"] == 6000)
        coarse = followed(page, chart)
        assert np.diff(coarse.arrays["times"]).mean() > np.diff(fine.arrays["times"]).mean()
        assert all(time % 6000 == 0 for time in coarse.arrays["times"])
        page.of(chart).say(kind="reach", view="a", seconds=0)
        wait_until(lambda: followed(page, chart).values["slice"] == fine.values["slice"])


def test_slices_fill_what_is_known_however_long_the_window_is(page: Page) -> None:
    night = pm.open_recording(pm.sample("evening"))
    with night.replay(speed="max", paused=True) as replay:
        chart = HeatMap(replay, rate=30, window=86_400)
        page.of(chart).say(kind="here", view="a")
        assert followed(page, chart).values["slice"] == 500

        for minutes, length in ((20, 2000), (55, 8000)):
            replay.seek(replay.first_time + timedelta(minutes=minutes))
            wait_until(lambda made=length: followed(page, chart).values["slice"] == made)
            assert len(followed(page, chart).arrays["times"]) > 100


def test_charts_of_a_dashboard_are_one_group_and_others_none(page: Page) -> None:
    with sample() as replay:
        dashboard, alone = replay.dashboard(), PriceChart(replay)

        assert dashboard.price.group == dashboard.heat.group != alone.group
        groups = [state["group"] for state in page.of(dashboard.heat).states if "group" in state]
        assert groups == [dashboard.price.group]


def test_a_lost_connection_greys_the_charts_and_says_why(page: Page) -> None:
    with watching() as (sim, manager):
        widgets = [make(manager) for make in CHARTS]
        sim.fault("refuse", channel="market", number=503)
        sim.fault("drop", channel="market")

        for widget in widgets:
            wait_until(lambda chart=widget: "disconnect" in str(followed(page, chart).values["doubt"]))
        assert followed(page, widgets[0]).arrays["gap_starts"]
        sim.clear_faults()
        for widget in widgets:
            wait_until(lambda chart=widget: followed(page, chart).values["doubt"] == "")


def test_the_first_market_that_is_watched_is_shown(page: Page) -> None:
    with SimulatedVenue(markets=1, rate=100) as sim, Manager(address(sim), policy=QUICK) as manager:
        chart, depth = PriceChart(manager, rate=30), DepthChart(manager, rate=30)
        assert str(followed(page, chart).values["doubt"]).startswith("no market is watched yet; type live.watch(")
        assert chart.token_id is None

        manager.watch(sim.markets[0].slug)

        wait_until(lambda: chart.token_id == sim.markets[0].token_ids[0])
        wait_until(lambda: followed(page, chart).arrays["times"] and followed(page, depth).arrays["bid_prices"])


def test_panels_show_labels_and_numbers(page: Page) -> None:
    with sample() as replay:
        ladder, tape, status, recording = [make(replay) for make in PANELS]

        pages = [str(followed(page, panel).values["html"]) for panel in (ladder, tape, status, recording)]

        assert "Will the Fed cut rates by 25 bps in December? - Yes" in re.sub("<[^>]*>", "", pages[0])
        assert "Yes: Will the Harbour Seals win the Lighthouse Cup?" in pages[1]
        assert "8 of 8 books trusted" in pages[2]
        assert "nothing is recorded" in pages[3]
        assert not any(token in html for html in pages for market in replay.markets for token in market.token_ids)


def test_only_what_is_not_recorded_already_is_said_to_be_recordable() -> None:
    with sample() as replay, SimulatedVenue(rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        pages = [RecordingPanel(one)._repr_html_() for one in (replay, manager)]  # pyright: ignore[reportPrivateUsage]

    assert ["live.record(" in unescape(page) for page in pages] == [False, True]


def test_a_recording_is_shown_while_it_is_made(page: Page, tmp_path: "pytest.TempPathFactory") -> None:
    with watching() as (_, manager):
        panel = RecordingPanel(manager, rate=30)
        manager.record(f"{tmp_path}/night")

        wait_until(lambda: "night" in str(followed(page, panel).values["html"]))
        wait_until(lambda: "GB free" in str(followed(page, panel).values["html"]))


def test_a_kernel_is_known_to_listen_once_its_loop_comes_round() -> None:
    free: list[float] = []

    async def cell() -> LoopProbe:
        probe = LoopProbe(free.append)
        probe.run(0.0)
        assert free == []
        await asyncio.sleep(0)
        probe.run(9.0)
        probe.run(10.0)
        await asyncio.sleep(0)
        return probe

    ended = asyncio.run(cell())
    ended.run(100.0)

    assert free == [0.0, 10.0]


def test_nothing_is_known_of_a_kernel_without_a_loop() -> None:
    free: list[float] = []

    LoopProbe(free.append).run(0.0)

    assert free == []


def test_a_chart_that_stands_still_says_its_number_again(page: Page) -> None:
    with sample() as replay:
        chart = PriceChart(replay)
        page.of(chart).say(kind="here", view="a")

        wait_until(lambda: page.of(chart).messages, 20)

        assert page.of(chart).messages[0][0] == {"kind": "at", "number": 1}


# --- what goes wrong ---


class Broken(CanvasTable):
    """A panel that cannot be drawn after the first time."""

    drawn = 0

    def _html(self, snapshot: Snapshot) -> str:
        del snapshot
        self.drawn += 1
        if self.drawn > 1:
            raise ValueError("<b>no</b>")
        return "first"

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager, rate=30)


class Astray(CanvasTable):
    """A panel that asks for what there is not after the first time."""

    asked = 0

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager, rate=30)

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        self.asked += 1
        return Query(tables=cursors if self.asked == 1 else {"nothing": None})

    def _html(self, snapshot: Snapshot) -> str:
        return str(snapshot.now)


def test_who_asks_for_what_there_is_not_is_told_alone(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    with watching() as (sim, manager):
        astray, chart = Astray(manager), PriceChart(manager, sim.markets[0].token_ids[0], rate=30)
        wait_until(lambda: page.of(astray).messages and len(page.of(chart).messages) > 5)

        assert [message["text"] for message, _ in page.of(astray).messages] == [
            "this could not be drawn: KeyError: 'nothing'"
        ]
        assert "problem" not in [message["kind"] for message, _ in page.of(chart).messages]
        assert len(caplog.records) == 1


def test_an_error_is_shown_once_under_what_was_drawn_and_the_others_go_on(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    with watching() as (sim, manager):
        broken, chart = Broken(manager), PriceChart(manager, sim.markets[0].token_ids[0], rate=30)
        wait_until(lambda: broken.drawn > 5 and len(page.of(chart).messages) > 5)

        (problem,) = [message for message, _ in page.of(broken).messages]
        assert problem == {"kind": "problem", "text": "this could not be drawn: ValueError: <b>no</b>"}
        assert len(caplog.records) == 1


@pytest.mark.parametrize("rate", [0, -1, 31])
def test_a_rate_that_cannot_be_kept_is_refused(rate: float) -> None:
    with sample() as replay, pytest.raises(ValueError, match="between 0 and 30 drawings"):
        PriceChart(replay, rate=rate)


def test_a_window_of_nothing_and_an_unknown_option_are_refused() -> None:
    with sample() as replay:
        with pytest.raises(ValueError, match="seconds above 0"):
            PriceChart(replay, window=0)
        with pytest.raises(TypeError, match="colour"):
            PriceChart(replay, colour="red")  # pyright: ignore[reportCallIssue]


# --- the end ---


@pytest.mark.quick(1)
@pytest.mark.parametrize("make", CHARTS)
def test_a_chart_is_a_figure_without_a_front_end_and_after_its_end(make: Callable[[Manager], BaseChart[Any]]) -> None:
    with sample() as replay:
        chart = make(replay)
        alive = png(chart.figure())

    closed = png(chart.figure())
    for picture in (alive, closed):
        assert picture.startswith(b"\x89PNG")
        assert struct.unpack(">II", picture[16:24]) == (900, 290)
        assert len(picture) > 8_000
    assert chart.closed
    assert repr(chart).startswith(f"<{type(chart).__name__} of simulated: Will the Fed")
    assert repr(chart).endswith(", closed>")


@pytest.mark.quick(2)
@pytest.mark.parametrize("make", [*CHARTS, *PANELS])
def test_a_widget_is_closed_once_and_leaves_no_thread(make: Callable[[Manager], ManagerWidget[Any]]) -> None:
    with sample() as replay:
        widget = make(replay)
        assert "pmlive charts" in [thread.name for thread in threading.enumerate()]

        widget.close()
        widget.close()

        assert "pmlive charts" not in [thread.name for thread in threading.enumerate()]
        assert "closed" in repr(widget)


def test_widgets_share_a_thread_which_comes_back_when_it_is_needed() -> None:
    with sample() as replay:
        first, second = PriceChart(replay), Tape(replay)
        assert [thread.name for thread in threading.enumerate()].count("pmlive charts") == 1
        first.close()
        second.close()

        third = PriceChart(replay)

        assert [thread.name for thread in threading.enumerate()].count("pmlive charts") == 1
        third.close()


def test_html_of_a_title_is_escaped(tmp_path: "pytest.TempPathFactory") -> None:
    del tmp_path
    market = pm.Market(condition_id="0xm", question="<script>x</script>", outcomes=["<b>Yes"], token_ids=["1"])
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        manager.watch(market)
        widgets = [make(manager) for make in (*CHARTS, *PANELS)]

        for widget in widgets:
            html = cast("Callable[[], str]", getattr(widget, "_repr_html_"))()  # noqa: B009  # what a notebook calls
            assert "<script>" not in html
            assert "<b>Yes" not in html
