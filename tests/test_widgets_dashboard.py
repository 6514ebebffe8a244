"""The dashboard and its controls, as a user moves them, and what a notebook keeps of it."""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Literal, Protocol, cast

import comm
import ipywidgets  # pyright: ignore[reportMissingTypeStubs]
import pytest
from support.feed import QUICK
from support.live import address
from support.page import Page
from support.shelf import record_story
from support.waiting import wait_until

import pmlive as pm
from pmlive.manager import Manager, Replay
from pmlive.manager.snapshots import Query
from pmlive.sim import SimulatedVenue
from pmlive.widgets import (
    CandleChart,
    Dashboard,
    MarketSearch,
    OutcomesChart,
    PriceChart,
    ReplayControls,
    Tape,
    TokenPicker,
)
from pmlive.widgets.base import origin_of
from pmlive.widgets.ladder import page as page_of

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """Open widgets on a page that keeps what it is sent."""
    opened = Page()
    monkeypatch.setattr(comm, "create_comm", opened.create_comm)
    return opened


@contextmanager
def sample(*, paused: bool = True) -> Generator[Replay]:
    """Stand at the beginning of the sample recording, or play it to its end."""
    before = set(threading.enumerate())
    with Replay(pm.sample(), speed="max" if not paused else 1.0, paused=paused) as replay:
        yield replay
    wait_until(lambda: set(threading.enumerate()) <= before, what="that no thread is left")


def parts(widget: object, kind: type[object]) -> list[object]:
    """Find the controls of a kind, at any depth."""
    children = cast("list[object]", getattr(widget, "children", []))
    return [one for one in children if isinstance(one, kind)] + [part for one in children for part in parts(one, kind)]


def text_of(widget: object) -> str:
    """Join what the labels say."""
    return " ".join(str(getattr(label, "value", "")) for label in parts(widget, ipywidgets.Label))


def display_of(widget: object) -> object:
    return getattr(getattr(widget, "layout", None), "display", "")


def value_of(widget: object) -> object:
    return getattr(widget, "value", None)


# --- the dashboard ---


def test_a_dashboard_shows_one_token_in_all_its_charts() -> None:
    with sample(paused=False) as replay:
        dashboard = replay.dashboard()
        token = replay.markets[2].token_ids[1]

        dashboard.show(token)

        charts = (dashboard.price, dashboard.depth, dashboard.heat, dashboard.ladder)
        assert {chart.token_id for chart in charts} == {token}
        for chart in charts:
            wait_until(lambda one=chart: "London on New Year's Eve? - No" in one.label)
        wait_until(lambda: dashboard.picker.token_id == token)
        assert {chart.token_id for chart in charts} == {token}


class Flexible(Protocol):
    """The layout of a box."""

    flex: str


class Nested(Protocol):
    """A box with others in it."""

    children: "list[Nested]"
    layout: Flexible


def test_the_column_of_the_ladder_is_as_wide_as_the_ladder_needs() -> None:
    with Replay(pm.sample(), speed="max") as replay:
        dashboard = replay.dashboard()
        (needed,) = re.findall(r"min-width: (\d+)px'>", str(dashboard.ladder.still()["text/html"]))
        boxes = [box for row in cast("Nested", dashboard).children for box in row.children]
        (column,) = [box for box in boxes if dashboard.ladder in getattr(box, "children", ())]

        assert int(re.findall(r"(\d+)px", column.layout.flex)[0]) >= int(needed)


def test_dashboards_of_two_tokens_are_open_beside_each_other_until_the_manager_is_closed() -> None:
    with sample() as replay:
        tokens = replay.markets[1].token_ids
        both = [replay.dashboard(token, rate=5) for token in tokens]

        assert [each.closed for each in both] == [False, False]
        assert [each.price.token_id for each in both] == list(tokens)
    assert [each.closed for each in both] == [True, True]
    assert repr(both[0]).endswith(", closed>")


def test_outside_of_cells_a_second_dashboard_of_a_token_closes_the_first() -> None:
    with sample() as replay, Replay(pm.sample(), paused=True) as other:
        first, elsewhere = replay.dashboard(), other.dashboard()

        second = replay.dashboard(replay.markets[0].token_ids[0])

        assert first.closed
        assert first.price.closed
        assert not second.closed
        assert not elsewhere.closed


def test_a_closed_dashboard_leaves_no_thread_and_no_widget_behind(page: Page) -> None:
    """A page that is loaded again shows no widget at all if one that is open has a part that is closed."""
    with sample() as replay:
        dashboard = replay.dashboard()
        dashboard.close()
        dashboard.close()

        assert "pmlive charts" not in [thread.name for thread in threading.enumerate()]
        assert len(page.comms) > 40
        left = [comm.sent[0][1] for comm in page.comms.values() if comm.sent[-1][0] != "comm_close"]
        assert left == []


def test_a_dashboard_is_a_figure_without_a_front_end_and_after_its_end() -> None:
    with sample(paused=False) as replay:
        dashboard = Dashboard(replay)
        assert len(dashboard.figure().axes) == 3
        assert repr(dashboard).startswith("<Dashboard of <Replay of ")
        dashboard.close()

        titles = [axes.get_title(loc="left") for axes in dashboard.figure().axes]

    market = "simulated: Will the Fed cut rates by 25 bps in December? - Yes"
    assert titles == [f"{name} \N{MIDDLE DOT} {market}" for name in ("Price", "Liquidity", "Depth")]


def test_a_dashboard_of_a_live_manager_has_no_controls_of_a_replay() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        manager.watch(sim.markets[0].slug)

        assert manager.dashboard().controls is None


def test_a_dashboard_with_a_rate_that_cannot_be_kept_is_refused() -> None:
    with sample() as replay, pytest.raises(ValueError, match="between 0 and 30"):
        replay.dashboard(rate=60)


def test_the_window_is_that_of_both_charts_over_time() -> None:
    with sample() as replay:
        dashboard = replay.dashboard()
        window = next(one for one in parts(dashboard, ipywidgets.Dropdown) if value_of(one) == 300.0)

        setattr(window, "value", 0.0)  # noqa: B010  # ipywidgets says nothing of its types

        assert (dashboard.price.window, dashboard.heat.window) == (None, None)


def test_a_price_that_is_clicked_in_the_ladder_is_marked_in_the_charts_until_it_is_clicked_again(page: Page) -> None:
    with sample(paused=False) as replay:
        dashboard = replay.dashboard()
        charts = (dashboard.price, dashboard.heat)

        page.of(dashboard.ladder).say(kind="mark", price=0.11)
        wait_until(lambda: [chart.marked for chart in charts] == [0.11, 0.11])
        assert all("marked 0.11" in [text.get_text() for text in axes.texts] for axes in dashboard.figure().axes[:2])
        page.of(dashboard.ladder).say(kind="mark", price=0.11)
        wait_until(lambda: [chart.marked for chart in charts] == [None, None])

        page.of(dashboard.ladder).say(kind="mark", price=0.12)
        dashboard.show(replay.markets[1].token_ids[0])
        assert [each.marked for each in (*charts, dashboard.ladder)] == [None] * 3


def choose(dashboard: Dashboard, kind: str) -> None:
    setattr(dashboard.main.chooser, "value", kind)  # noqa: B010  # ipywidgets says nothing of its types


def test_the_main_chart_is_of_prices_of_candles_or_of_all_outcomes() -> None:
    with sample() as replay:
        other = replay.dashboard(replay.markets[0].token_ids[0])
        # A window that is none of those in the list.
        other.price.window = 120.0
        choose(other, "candles")
        assert other.main.candles is not None
        assert (other.main.candles.window, other.main.candles.interval) == (120.0, "5s")
        dashboard = replay.dashboard(replay.markets[1].token_ids[0])
        assert dashboard.main.chart is dashboard.price
        assert (dashboard.main.candles, dashboard.main.outcomes) == (None, None)

        choose(dashboard, "candles")
        candles = dashboard.main.chart
        assert isinstance(candles, CandleChart)
        assert (candles.token_id, candles.window, candles.interval) == (dashboard.price.token_id, 300.0, "5s")
        choose(dashboard, "all outcomes")
        outcomes = dashboard.main.chart
        assert isinstance(outcomes, OutcomesChart)
        assert dashboard.price.token_id in outcomes.token_ids
        assert {candles.group, outcomes.group, dashboard.heat.group} == {dashboard.price.group}
        choose(dashboard, "prices")
        assert dashboard.main.chart is dashboard.price

        choose(dashboard, "candles")
        assert dashboard.main.chart is candles
        dashboard.close()
        assert [each.closed for each in (dashboard.price, candles, outcomes)] == [True] * 3


def test_the_main_chart_follows_the_token_the_window_and_the_mark_of_its_dashboard() -> None:
    with sample() as replay:
        dashboard = replay.dashboard(replay.markets[0].token_ids[0])
        window = next(one for one in parts(dashboard, ipywidgets.Dropdown) if value_of(one) == 300.0)
        dashboard.mark(0.11)
        for kind in ("candles", "all outcomes"):
            choose(dashboard, kind)
        before, candles = dashboard.main.outcomes, dashboard.main.candles
        assert before is not None
        assert candles is not None
        assert candles.marked == 0.11

        setattr(window, "value", 3600.0)  # noqa: B010  # ipywidgets says nothing of its types
        assert (before.window, candles.window, candles.interval) == (3600.0, 3600.0, "1m")
        dashboard.show(replay.markets[2].token_ids[1])

        assert (candles.token_id, candles.marked) == (replay.markets[2].token_ids[1], None)
        assert dashboard.main.chart is dashboard.main.outcomes
        shown = dashboard.main.outcomes
        assert shown is not None
        assert replay.markets[2].token_ids[0] in shown.token_ids
        assert before.closed
        assert not shown.closed


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("kind", "name", "charts"),
    [
        ("prices", "Price", "canvas"),
        ("candles", "Candles", "canvas"),
        ("candles", "Candles", "image"),
        ("all outcomes", "Outcomes", "canvas"),
    ],
)
def test_the_figure_of_a_dashboard_is_of_the_main_chart_that_is_chosen(
    kind: str, name: str, charts: Literal["canvas", "image"]
) -> None:
    with sample(paused=False) as replay:
        dashboard = replay.dashboard(charts=charts)
        choose(dashboard, kind)
        titles = [axes.get_title(loc="left") for axes in dashboard.figure().axes]

    assert [title.split(" \N{MIDDLE DOT} ")[0] for title in titles if title] == [name, "Liquidity", "Depth"]


def test_trades_are_those_of_the_token_that_is_shown_or_of_all() -> None:
    with sample(paused=False) as replay:
        dashboard = replay.dashboard()
        first, other = dashboard.price.token_id, replay.markets[1].token_ids[0]
        scope = next(one for one in parts(dashboard, ipywidgets.Dropdown) if value_of(one) == "of this token")
        assert dashboard.tape.token_id == first

        dashboard.show(other)
        assert dashboard.tape.token_id == other
        setattr(scope, "value", "of all markets")  # noqa: B010  # ipywidgets says nothing of its types
        dashboard.show(first or "")

        assert dashboard.tape.token_id is None
        assert "all that is watched" in html_of(dashboard.tape)


def read(html: str) -> str:
    """Return what HTML says."""
    return unescape(re.sub("<[^>]*>", "", html))


def html_of(widget: object) -> str:
    return cast("Callable[[], str]", getattr(widget, "_repr_html_"))()  # noqa: B009  # what a notebook calls


def test_what_is_known_to_be_simulated_says_so_in_every_part(tmp_path: Path) -> None:
    with Manager(venue="sim") as manager, SimulatedVenue(markets=1, rate=0) as elsewhere:
        assert manager.sim is not None
        manager.record(tmp_path / "night")
        manager.watch(manager.sim.markets[0].slug)
        manager.book(manager.sim.markets[0].token_ids[0])
        dashboard = manager.dashboard()
        for part in (dashboard.price, dashboard.heat, dashboard.depth):
            wait_until(lambda one=part: one.label.startswith("simulated: "))
        assert all("simulated: " in html_of(part) for part in (dashboard.ladder, dashboard.tape))
        with Manager(address(elsewhere), policy=QUICK) as other:
            other.record(tmp_path / "other")
            other.watch(elsewhere.markets[0].slug)
            other.book(elsewhere.markets[0].token_ids[0])
            # The address of its venue is all that this manager knows of it.
            assert not other.dashboard().price.label.startswith("simulated")
        token = manager.sim.markets[0].token_ids[0]
        assert manager[token].plot().get_title(loc="left").startswith("Price \N{MIDDLE DOT} simulated: ")
    for name, is_told in (("night", True), ("other", False)):
        with Replay(tmp_path / name, paused=True) as replay, pm.open_recording(tmp_path / name) as recording:
            label = replay.dashboard().price.label
            assert label.startswith("simulated: ") == is_told
            token = recording.markets[0].token_ids[0]
            for kind in ("prices", "candles"):
                assert ("simulated: " in recording[token].plot(kind=kind).get_title(loc="left")) == is_told


def test_what_is_recorded_of_a_replay_is_simulated_where_that_was(tmp_path: Path) -> None:
    other = list(record_story(tmp_path / "elsewhere", 3, steps=20).venues)
    one = [token for market in pm.open_recording(pm.sample()).markets for token in market.token_ids]
    with Replay([pm.sample(), tmp_path / "elsewhere"], speed="max", paused=True) as replay:
        replay.record(tmp_path / "again")
        replay.resume()
        replay.wait()

    # What is recorded into it later, from elsewhere, changes nothing of that.
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        manager.record(tmp_path / "again")

    night = pm.open_recording(tmp_path / "again")
    with night.replay(paused=True) as replay:
        for token in (one[0], other[0]):
            assert night[token].simulated == replay.is_simulated(token) == (token in one)
        assert not replay.simulated


def test_of_several_recordings_each_token_is_labelled_as_its_own_was(tmp_path: Path) -> None:
    other = list(record_story(tmp_path / "elsewhere", 3, steps=20).venues)
    one = [token for market in pm.open_recording(pm.sample()).markets for token in market.token_ids]
    for folders in ([pm.sample(), tmp_path / "elsewhere"], [tmp_path / "elsewhere", pm.sample()]):
        with Replay(folders, speed="max") as replay:
            for tokens, origin in ((one, "simulated: "), (other, "")):
                assert origin_of(replay, tokens) == origin
                assert {replay[token].simulated for token in tokens} == {bool(origin)}
                assert PriceChart(replay, tokens[0]).label == f"{origin}{replay[tokens[0]].label}"
                assert f"Trades{origin}{replay[tokens[0]].label}" in read(html_of(Tape(replay, tokens[0])))
            assert "partly simulated: all that is watched" in html_of(Tape(replay))
            assert OutcomesChart(replay, [other[0], one[0]]).label.startswith("partly simulated: ")
            chart = PriceChart(replay, one[0])
            assert "simulated" in chart.figure().axes[0].get_title("left")
            chart.token_id = other[0]
            assert "simulated" not in chart.figure().axes[0].get_title("left")


def test_a_token_of_which_one_recording_is_simulated_is_labelled_so(tmp_path: Path) -> None:
    first = record_story(tmp_path / "one", 3, steps=20)
    record_story(tmp_path / "two", 4, at=first.at + 600_000, steps=20)
    told = json.loads((tmp_path / "two" / "manifest.json").read_text())
    (tmp_path / "two" / "manifest.json").write_text(json.dumps(told | {"simulated": True}))

    with Replay([tmp_path / "one", tmp_path / "two"], speed="max") as replay:
        assert all(replay[token].simulated for token in first.venues)
        assert not replay.simulated


# --- the controls of a replay ---


def controls_of(replay: Replay) -> tuple[ReplayControls, list[object], object, object]:
    controls = ReplayControls(replay)
    (slider,) = parts(controls, ipywidgets.FloatSlider)
    (speed,) = parts(controls, ipywidgets.Dropdown)
    return controls, parts(controls, ipywidgets.Button), slider, speed


def test_a_replay_is_played_and_paused(page: Page) -> None:
    with sample() as replay:
        _, (play, _), slider, _ = controls_of(replay)

        page.of(play).say(event="click")
        wait_until(lambda: not replay.paused)
        wait_until(lambda: getattr(play, "icon", "") == "pause")
        wait_until(lambda: cast("float", value_of(slider)) > 0.5)
        page.of(play).say(event="click")

        wait_until(lambda: replay.paused)
        wait_until(lambda: getattr(play, "icon", "") == "play")


def test_a_replay_goes_where_the_slider_is_put(page: Page) -> None:
    with sample() as replay:
        controls, _, slider, _ = controls_of(replay)

        page.of(slider).set(value=40.0)

        wait_until(lambda: replay.position == replay.first_time + timedelta(seconds=40))
        wait_until(lambda: f"{replay.position:%H:%M:%S}" in text_of(controls))
        assert replay.paused


def test_the_slider_stays_where_it_was_put_while_the_replay_goes_there(page: Page) -> None:
    with sample() as replay:
        controls, _, slider, _ = controls_of(replay)
        (before,) = replay.snapshots([Query()])
        moved: list[object] = []

        def draw_meanwhile(_change: object) -> None:
            moved.append(value_of(slider))
            controls.render(before, 0.0)

        observe = cast("Callable[..., None]", getattr(slider, "observe"))  # noqa: B009  # ipywidgets has no types
        observe(draw_meanwhile, names="value")

        page.of(slider).set(value=40.0)

        wait_until(lambda: replay.position == replay.first_time + timedelta(seconds=40))
        assert 0.0 not in moved


def test_the_slider_that_follows_a_replay_sends_it_nowhere() -> None:
    with sample() as replay:
        _, _, slider, _ = controls_of(replay)
        replay.speed = 20
        replay.resume()

        wait_until(lambda: cast("float", value_of(slider)) > 5)
        replay.pause()

        wait_until(
            lambda: value_of(slider) == pytest.approx((replay.position - replay.first_time).total_seconds(), abs=1e-3)
        )


def test_a_replay_takes_the_speed_that_is_chosen_and_shows_one_that_was_set() -> None:
    with sample() as replay:
        _, _, _, speed = controls_of(replay)

        setattr(speed, "value", 60.0)  # noqa: B010  # ipywidgets says nothing of its types
        wait_until(lambda: replay.speed == 60)

        replay.speed = 7
        wait_until(lambda: value_of(speed) == 7)


def test_a_replay_takes_one_frame_at_a_step(page: Page) -> None:
    with sample() as replay:
        _, (_, step), _, _ = controls_of(replay)
        before = replay.position

        page.of(step).say(event="click")

        wait_until(lambda: replay.position > before)


def test_a_finished_replay_is_played_again_from_the_beginning(page: Page) -> None:
    with sample(paused=False) as replay:
        replay.speed = 1
        _, (play, _), _, _ = controls_of(replay)

        page.of(play).say(event="click")

        wait_until(lambda: not replay.finished and not replay.paused)
        assert replay.position < replay.last_time


def test_what_a_control_cannot_do_is_said_beside_it(page: Page, tmp_path: Path) -> None:
    with sample() as replay:
        controls, _, slider, _ = controls_of(replay)
        replay.record(tmp_path / "copy")

        page.of(slider).set(value=40.0)

        wait_until(lambda: "call stop_recording first" in text_of(controls))


# --- picking and finding ---


def test_the_list_of_tokens_follows_what_is_watched(page: Page) -> None:
    picked: list[str] = []
    with SimulatedVenue(markets=2, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        first, second = sim.markets
        picker = TokenPicker(manager, picked.append)
        assert picker.token_id is None

        manager.watch(first.slug)
        wait_until(lambda: picker.token_id == first.token_ids[0])
        manager.watch(second.slug)
        (choice,) = parts(picker, ipywidgets.Dropdown)
        wait_until(lambda: len(cast("list[object]", getattr(choice, "options", []))) == 4)
        assert picker.token_id == first.token_ids[0]

        page.of(choice).set(index=3)

        wait_until(lambda: picked == [first.token_ids[0], second.token_ids[1]])


def test_a_market_that_is_found_and_picked_is_watched() -> None:
    picked: list[str] = []
    with SimulatedVenue(markets=2, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        market = sim.markets[1]
        search = MarketSearch(manager, lambda found: picked.append(found.slug))
        search.find(market.slug)
        wait_until(lambda: [found.slug for found in search.found] == [market.slug])

        search.pick(0)

        wait_until(lambda: picked == [market.slug])
        assert [subscription.type for subscription in manager.subscriptions] == ["watch"]


def test_a_dashboard_of_nothing_says_what_to_do_and_has_nothing_that_does_nothing() -> None:
    with SimulatedVenue(markets=1, rate=50) as sim, Manager(address(sim), policy=QUICK) as manager:
        dashboard = manager.dashboard()
        (choice,) = parts(dashboard.picker, ipywidgets.Dropdown)
        scope = next(
            one for one in parts(dashboard, ipywidgets.Dropdown) if getattr(one, "description", "") == "trades"
        )

        assert "find one" in str(getattr(choice, "label", ""))
        assert (getattr(choice, "disabled", None), dashboard.picker.token_id) == (True, None)
        assert display_of(scope) == "none"
        assert "all that is watched" not in read(html_of(dashboard.tape))

        manager.watch(sim.markets[0].slug)

        wait_until(lambda: dashboard.picker.token_id == sim.markets[0].token_ids[0])
        wait_until(lambda: display_of(scope) != "none")
        assert not getattr(choice, "disabled", True)


@pytest.mark.parametrize("label", ["Will it rain? - Yes", "A - b - No", "all that is watched", "<b> - <i>"])
def test_a_title_of_a_table_keeps_the_outcome_where_there_is_no_room(label: str) -> None:
    html = page_of("Ladder", label)

    spans = re.findall(r"<span style='([^']*)'>([^<]*)</span>", html)
    assert "".join(unescape(text) for _, text in spans) == label
    assert "ellipsis" in spans[0][0]
    if " - " in label:
        assert unescape(spans[-1][1]) == label[label.rindex(" - ") :]
        assert "ellipsis" not in spans[-1][0]


def test_the_first_that_is_found_is_watched_at_a_click(page: Page) -> None:
    with SimulatedVenue(markets=2, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        search = MarketSearch(manager)
        (message,) = parts(search, ipywidgets.Label)
        assert display_of(message) == "none"
        search.find(sim.markets[1].slug)
        wait_until(lambda: "1 found" in text_of(search) and display_of(message) is None)
        (watch,) = (one for one in parts(search, ipywidgets.Button) if getattr(one, "description", "") == "watch")

        page.of(watch).say(event="click")

        wait_until(lambda: [subscription.type for subscription in manager.subscriptions] == ["watch"])


def test_a_market_of_a_replay_is_found_among_the_recorded_and_shown() -> None:
    with sample() as replay:
        dashboard = replay.dashboard()
        dashboard.search.find("harbour seals")
        wait_until(lambda: dashboard.search.found)

        dashboard.search.pick(0)

        wait_until(lambda: "Harbour Seals" in dashboard.price.label)
        wait_until(lambda: dashboard.picker.token_id == dashboard.price.token_id)
        assert replay.subscriptions == []


@pytest.mark.parametrize(("text", "said"), [("nobody asked this", "nothing is called"), ("0x12", "0x12")])
def test_a_search_that_finds_nothing_says_so(text: str, said: str) -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        search = MarketSearch(manager)

        search.find(text)

        wait_until(lambda: said in text_of(search))
        assert search.found == []


def test_no_thread_is_left_of_a_search() -> None:
    with sample() as replay:
        search = MarketSearch(replay)
        search.find("fed")
        wait_until(lambda: search.found)
        wait_until(lambda: "pmlive controls" not in [thread.name for thread in threading.enumerate()])


# --- what a notebook keeps ---


class Output(Protocol):
    """Something that a cell showed, or showed in place of something else."""

    data: dict[str, object]
    update: bool


class Captured(Protocol):
    """What cells showed so far."""

    outputs: list[Output]


@contextmanager
def notebook(folder: Path) -> Generator[Captured]:
    """Collect what cells show."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder))
        InteractiveShell.instance()
        try:
            with capture_output() as captured:
                yield cast("Captured", captured)
        finally:
            InteractiveShell.clear_instance()


def show(widget: object) -> None:
    cast("type[object]", getattr(widget, "_ipython_display_"))()  # noqa: B009  # what a notebook calls


def test_what_is_displayed_has_a_picture_and_becomes_one(tmp_path: Path) -> None:
    with notebook(tmp_path) as shown, sample(paused=False) as replay:
        dashboard = replay.dashboard()
        show(dashboard)
        show(dashboard.price)
        show(dashboard.tape)
        alive = [set(output.data) for output in shown.outputs]
        assert alive == [{WIDGET, "image/png", "text/plain"}] * 2 + [{WIDGET, "text/html", "text/plain"}]

        dashboard.close()

        frozen = {frozenset(output.data) for output in shown.outputs[3:]}
        assert len(shown.outputs) == 6
        assert all(output.update for output in shown.outputs[3:])
        assert frozen == {frozenset({"image/png", "text/plain"}), frozenset({"text/html", "text/plain"})}
        png = base64.b64decode(cast("str", shown.outputs[3].data["image/png"]))
        assert png.startswith(b"\x89PNG")


def test_a_closed_chart_is_displayed_as_a_picture(tmp_path: Path) -> None:
    with notebook(tmp_path) as shown, sample(paused=False) as replay:
        dashboard = replay.dashboard()
        dashboard.close()
        show(dashboard.price)

    assert set(shown.outputs[0].data) == {"image/png", "text/plain"}


# --- without the extra ---


def test_without_the_extra_the_dashboard_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['anywidget'] = None\n"
        "import pmlive\nfrom pmlive.manager import Replay\n"
        "with Replay(pmlive.sample(), paused=True) as replay:\n"
        "    try:\n        replay.dashboard()\n    except ImportError as error:\n        print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=30, env=dict(os.environ)
    )

    assert "needs anywidget, which is not installed; run: pip install 'pmlive[jupyter]'" in done.stdout


def test_a_manager_alone_imports_no_widget() -> None:
    heavy = {"anywidget", "ipywidgets", "matplotlib", "IPython"}
    program = f"import sys, pmlive.manager; print(sorted({heavy!r} & set(sys.modules)))"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=30, env=dict(os.environ)
    )

    assert done.stdout.strip() == "[]"
