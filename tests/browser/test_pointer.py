"""What mouse, touch and keys do on the charts of a dashboard, in a real JupyterLab that shows the sample recording."""

import json
from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, cast
from xml.etree import ElementTree as ET

import pytest
from support.notebook import Desk, Notebook, Widget

from pmlive.analysis.palette import LIGHT

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import FloatRect, Locator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

BEGIN = """
import time
import pmlive as pm
replay = pm.open_recording(pm.sample()).replay(paused=True)
dash = replay.dashboard()
dash
"""
# All of the sample, with its gap.
END = "replay.seek(replay.last_time)"
TIME_CHARTS = ("PriceChart", "HeatMap")
SPAN = """(name) => {
  const { scales, view } = document.querySelector(`[data-widget=${name}]`).viewed;
  const { area, x } = scales;
  return { from: x.back(area.left), to: x.back(area.right), left: area.left, right: area.right, live: view.isLive };
}"""
BOX = """(name) => {
  const box = document.querySelector(`[data-widget=${name}] [aria-live][style*=grid-template]`);
  if (box.style.display === "none") return null;
  const cells = [...box.children].map((cell) => cell.textContent);
  return Object.fromEntries(cells.flatMap((cell, at) => (at % 2 ? [] : [[cell, cells[at + 1]]])));
}"""
# Where the gap is drawn, in each frame for a while: its first and its last column of both charts.
GAPS = """async ([frames, gap]) => {
  const where = (name) => {
    const canvas = document.querySelector(`[data-widget=${name}] canvas`);
    const { data } = canvas.getContext("2d").getImageData(0, 60, canvas.width, 1);
    const found = [];
    for (let at = 0; at < canvas.width; at += 1) {
      const pixel = data.slice(4 * at, 4 * at + 4);
      if (pixel[3] > 50 && gap.every((part, place) => Math.abs(pixel[place] - part) < 10)) found.push(at);
    }
    return found.length ? [found[0], found[found.length - 1]] : null;
  };
  const seen = [];
  for (let frame = 0; frame < frames; frame += 1) {
    await new Promise(requestAnimationFrame);
    const both = ["PriceChart", "HeatMap"].map(where);
    if (both[0] || both[1]) seen.push(both);
  }
  return seen;
}"""
AT = """
import json, polars as pl
from datetime import datetime, timezone
time_ = datetime.fromisoformat("{time}").replace(tzinfo=timezone.utc)
its = (pl.col("token_id") == dash.price.token_id) & (pl.col("ts_recv") <= time_)
row, book = (frame.filter(its).tail(1).to_dicts()[0] for frame in (replay.prices, replay.depth))
print(json.dumps({{
    "bid": row["best_bid"], "ask": row["best_ask"], "mid": row["mid"],
    "bids": list(zip(book["bid_prices"], book["bid_sizes"])),
}}))
"""


class Span(NamedTuple):
    """What a chart shows: times in milliseconds, pixels of its canvas, and whether it follows what is live."""

    start: float
    end: float
    left: float
    right: float
    live: bool

    @property
    def length(self) -> float:
        return self.end - self.start

    def pixels(self, count: float) -> float:
        """Give how long so many pixels are."""
        return count * self.length / (self.right - self.left)

    def time(self, share: float) -> float:
        return self.start + share * self.length


@pytest.fixture(scope="module")
def notebook(desk: Desk) -> Notebook:
    made = desk.open(BEGIN)
    made.run(0)
    made.ask(END)
    for name in (*TIME_CHARTS, "DepthChart"):
        made.until(lambda one=name: made.widget(one).pixels("bid") > 100, f"that {name} is drawn")
    made.until(lambda: made.widget("PriceChart").arrays["gap_starts"], "that there is a gap")
    return made


@pytest.fixture(autouse=True)
def begins_live(notebook: Notebook) -> None:
    notebook.page.mouse.move(2, 2)
    if not span(notebook).live:
        press(notebook, "End")
    notebook.until(lambda: span(notebook).live and box(notebook) is None, "that it is as it was")


def span(notebook: Notebook, name: str = "PriceChart") -> Span:
    found = cast("dict[str, float]", notebook.page.evaluate(SPAN, name))
    return Span(found["from"], found["to"], found["left"], found["right"], bool(found["live"]))


def box(notebook: Notebook, name: str = "PriceChart") -> dict[str, str] | None:
    return cast("dict[str, str] | None", notebook.page.evaluate(BOX, name))


def boxed(notebook: Notebook, name: str) -> dict[str, str]:
    notebook.until(lambda: box(notebook, name), f"that {name} says what is under the pointer")
    return box(notebook, name) or {}


def canvas(notebook: Notebook, name: str = "PriceChart") -> "FloatRect":
    found = notebook.page.locator(f"[data-widget={name}] canvas").first
    found.scroll_into_view_if_needed()
    place = found.bounding_box()
    assert place is not None
    return place


def hover(notebook: Notebook, share: float, name: str = "PriceChart", *, down: float = 0.5) -> None:
    """Put the pointer on a chart, so far from its left and from its top."""
    place, seen = canvas(notebook, name), span(notebook, name)
    notebook.page.mouse.move(
        place["x"] + seen.left + share * (seen.right - seen.left), place["y"] + down * place["height"]
    )


def press(notebook: Notebook, *keys: str, name: str = "PriceChart") -> None:
    notebook.page.locator(f"[data-widget={name}] canvas").first.focus()
    for key in keys:
        notebook.page.keyboard.press(key)


def devtools(notebook: Notebook) -> Callable[[str, dict[str, object]], object]:
    """Give what has the browser do what a page cannot; touches in a row are those of one."""
    session = notebook.page.context.new_cdp_session(notebook.page)
    return session.send  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # it answers with anything


def until_span(notebook: Notebook, holds: str, before: Span) -> Span:
    """Wait until what is shown is not what it was, and give it once both charts show it."""
    notebook.until(lambda: abs(span(notebook).start - before.start) + abs(span(notebook).end - before.end) > 1, holds)

    def still() -> bool:
        price = span(notebook)
        notebook.page.wait_for_timeout(50)
        return price == span(notebook) == span(notebook, "HeatMap")

    notebook.until(still, "that both charts show the same")
    return span(notebook)


# --- the crosshair ---


@pytest.mark.parametrize("share", [0.12, 0.3, 0.8])
@pytest.mark.parametrize("name", TIME_CHARTS)
def test_the_pointer_tells_in_both_charts_what_was_at_its_time(notebook: Notebook, share: float, name: str) -> None:
    hover(notebook, share, name)

    price, heat = boxed(notebook, "PriceChart"), boxed(notebook, "HeatMap")
    seen = span(notebook)
    assert price["time"] == heat["time"]
    assert price["time"].endswith(" UTC")
    there = notebook.told(AT.format(time=price["time"].removesuffix(" UTC")), dict[str, object])
    for side in ("bid", "ask", "mid"):
        assert float(price[side]) == pytest.approx(there[side])
    assert float(price["spread"]) == pytest.approx(cast("float", there["ask"]) - cast("float", there["bid"]))
    told = datetime.fromisoformat(price["time"].replace(" UTC", "+00:00")).timestamp()
    assert 1000 * told == pytest.approx(seen.time(share), abs=seen.pixels(2))
    best = cast("list[list[float]]", there["bids"])[0]
    assert heat["best bid"].split(" at ")[1] == f"{best[0]:.2f}"


def test_the_pointer_tells_how_much_rested_at_its_price(notebook: Notebook) -> None:
    hover(notebook, 0.9, "HeatMap", down=0.5)

    heat = boxed(notebook, "HeatMap")

    there = notebook.told(AT.format(time=heat["time"].removesuffix(" UTC")), dict[str, object])
    bids = {f"{price:.2f} bid": size for price, size in cast("list[list[float]]", there["bids"])}
    found: list[str] = []
    for tenth in range(3, 10):
        hover(notebook, 0.9, "HeatMap", down=tenth / 10)
        notebook.page.wait_for_timeout(100)
        rows = boxed(notebook, "HeatMap")
        found += [
            name
            for name in rows
            if name in bids and float(rows[name].split()[0].replace(",", "")) == pytest.approx(bids[name])
        ]
    assert found


def test_the_pointer_says_why_there_is_nothing_in_a_gap(notebook: Notebook) -> None:
    chart = notebook.widget("PriceChart")
    gap = (chart.arrays["gap_starts"][0] + chart.arrays["gap_ends"][0]) / 2
    seen = span(notebook)

    hover(notebook, (gap - seen.start) / seen.length)

    for name in TIME_CHARTS:
        told = boxed(notebook, name)
        assert str(notebook.given("replay.gaps['cause'][0]")) in told["no data"]
        assert not {"bid", "best bid"} & set(told)


def test_the_crosshair_does_not_draw_the_chart_again(notebook: Notebook) -> None:
    hover(notebook, 0.4)
    boxed(notebook, "PriceChart")
    draws = notebook.widget("PriceChart").draws

    for share in range(50, 80):
        hover(notebook, share / 100)

    assert notebook.widget("PriceChart").draws == draws


# --- zoom, pan, and back ---


@pytest.mark.parametrize("name", TIME_CHARTS)
def test_the_wheel_narrows_the_time_about_the_pointer(notebook: Notebook, name: str) -> None:
    before = span(notebook)
    hover(notebook, 0.4, name)

    notebook.page.mouse.wheel(0, -400)
    after = until_span(notebook, "that it is nearer", before)
    assert after.length < 0.8 * before.length
    assert after.time(0.4) == pytest.approx(before.time(0.4), abs=before.pixels(2))
    assert not after.live
    assert "paused at" in notebook.widget("HeatMap").text

    notebook.page.mouse.wheel(0, 2000)
    notebook.until(lambda: span(notebook).live, "that it follows what is live again")
    assert span(notebook).length == pytest.approx(before.length, rel=0.01)


def test_a_wheel_that_can_do_nothing_scrolls_the_page(notebook: Notebook) -> None:
    where = "() => document.querySelector('.jp-WindowedPanel-outer').scrollTop"
    room = "() => { document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0; }"
    notebook.page.set_viewport_size({"width": 1400, "height": 700})
    press(notebook, "Home")
    notebook.page.evaluate(room)
    before = cast("float", notebook.page.evaluate(where))
    hover(notebook, 0.5)

    notebook.page.mouse.wheel(0, 300)

    notebook.until(lambda: cast("float", notebook.page.evaluate(where)) > before, "that the page scrolls")
    notebook.page.set_viewport_size({"width": 1400, "height": 1300})
    notebook.page.evaluate(room)


def test_dragging_moves_the_time_with_the_pointer_and_two_clicks_go_back(notebook: Notebook) -> None:
    whole = span(notebook)
    hover(notebook, 0.5)
    notebook.page.mouse.wheel(0, -400)
    before = until_span(notebook, "that it is nearer", whole)

    hover(notebook, 0.4)
    notebook.page.mouse.down()
    for share in (0.45, 0.5, 0.6):
        hover(notebook, share)
        notebook.page.wait_for_timeout(50)
    notebook.page.mouse.up()

    after = until_span(notebook, "that it is moved", before)
    assert after.length == pytest.approx(before.length)
    assert after.time(0.6) == pytest.approx(before.time(0.4), abs=before.pixels(2))

    place = canvas(notebook)
    notebook.page.mouse.dblclick(place["x"] + 300, place["y"] + 150)
    notebook.until(lambda: span(notebook).live, "that it is live")
    assert span(notebook) == whole


def test_keys_do_what_the_mouse_does(notebook: Notebook) -> None:
    whole = span(notebook)

    press(notebook, "+", "+", "ArrowLeft")
    near = until_span(notebook, "that it is nearer, and earlier", whole)
    notebook.until(lambda: span(notebook).length < whole.length / 2, "that it is nearer")
    notebook.until(lambda: not span(notebook).live, "that it is earlier")
    near = span(notebook)

    press(notebook, "ArrowLeft")
    earlier = until_span(notebook, "that it is earlier", near)
    assert near.start - earlier.start == pytest.approx(near.length / 10, rel=0.05)
    press(notebook, "-")
    assert until_span(notebook, "that it is farther", earlier).length > earlier.length

    press(notebook, "[", "[", "]")
    told = boxed(notebook, "PriceChart")
    assert "bid" in told or "no data" in told
    press(notebook, "Escape")
    notebook.until(lambda: span(notebook).live and box(notebook) is None, "that it is live, without a crosshair")
    assert span(notebook) == whole


def test_two_fingers_that_part_make_it_nearer(notebook: Notebook) -> None:
    before, place, send = span(notebook), canvas(notebook), devtools(notebook)
    y = place["y"] + 150

    def at(kind: str, *xs: float) -> None:
        points = [{"x": place["x"] + x, "y": y, "id": number} for number, x in enumerate(xs)]
        send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    at("touchStart", 300, 400)
    for apart in (20, 60, 100):
        at("touchMove", 300 - apart, 400 + apart)
    at("touchEnd")

    after = until_span(notebook, "that it is nearer", before)
    assert after.length == pytest.approx(before.length / 3, rel=0.25)


def test_what_comes_does_not_move_what_somebody_looks_at(notebook: Notebook) -> None:
    before = span(notebook)
    notebook.ask("replay.seek(replay.first_time + (replay.last_time - replay.first_time) * 0.6)")
    notebook.until(lambda: span(notebook).end < before.end - 1000, "that it is back")
    begun = span(notebook)
    hover(notebook, 0.3)
    notebook.page.mouse.wheel(0, -400)
    held, rows = until_span(notebook, "that it is nearer", begun), len(notebook.widget("PriceChart").arrays["times"])

    notebook.ask("replay.step(200)")
    notebook.until(lambda: len(notebook.widget("PriceChart").arrays["times"]) > rows, "that something comes")
    notebook.page.wait_for_timeout(300)

    assert span(notebook) == held
    assert "paused at" in notebook.widget("PriceChart").text
    press(notebook, "End")
    notebook.ask(END)
    notebook.until(lambda: span(notebook).end >= before.end - 1, "that it is at the end")


def test_who_looks_farther_back_than_the_window_is_sent_more(notebook: Notebook) -> None:
    notebook.ask("dash.price.window = dash.heat.window = 10")
    notebook.until(lambda: span(notebook).length < 12_000, "that ten seconds are shown")
    assert notebook.given("dash.heat._channel.reach") == 0

    press(notebook, "Home")

    notebook.until(lambda: notebook.given("dash.heat._channel.reach") == 300, "that the heat map asks for more")
    press(notebook, "End")
    notebook.until(lambda: notebook.given("dash.heat._channel.reach") == 0, "that it asks for no more")
    notebook.ask("dash.price.window = dash.heat.window = 300")
    notebook.until(lambda: span(notebook).length > 80_000, "that all is shown")


# --- one axis ---


@pytest.mark.parametrize("speed", [5, 20])
def test_a_gap_is_at_the_same_pixels_in_both_charts_while_a_replay_runs(notebook: Notebook, speed: int) -> None:
    notebook.ask("replay.seek(replay.gaps['started'].min().replace(tzinfo=__import__('datetime').timezone.utc))")
    notebook.ask(f"replay.speed = {speed}; replay.resume()")

    seen = cast(
        "Sequence[Sequence[Sequence[int] | None]]",
        notebook.page.evaluate(GAPS, [300, [*bytes.fromhex(LIGHT.gap[1:7])]]),
    )

    notebook.ask("replay.pause()")
    notebook.ask(END)
    # A chart that was not told yet of a gap has none to draw.
    both = [(price, heat) for price, heat in seen if price and heat]
    # It moved; on a busy machine few of its places are drawn.
    assert len({json.dumps(price) for price, _ in both}) > 1
    for price, heat in both:
        assert abs(price[0] - heat[0]) <= 1
    notebook.until(lambda: span(notebook).live, "that it is live")


@pytest.fixture
def chooser(notebook: Notebook) -> "Generator[Locator]":
    """Give the list of main charts, and put prices back."""
    found = notebook.page.locator("select", has_text="candles")
    yield found
    found.select_option("prices")
    notebook.until(lambda: notebook.widget("PriceChart").pixels("bid") > 100, "that prices are back")


@pytest.mark.parametrize(("kind", "name"), [("candles", "CandleChart"), ("all outcomes", "OutcomesChart")])
def test_another_main_chart_has_the_time_axis_of_the_others(
    notebook: Notebook, chooser: "Locator", kind: str, name: str
) -> None:
    chooser.select_option(kind)
    notebook.until(lambda: notebook.widget(name).draws > 0, f"that {name} is drawn")
    notebook.until(lambda: span(notebook, name) == span(notebook, "HeatMap"), "that both have one axis, to the pixel")
    whole = span(notebook, name)
    press(notebook, "+", name=name)
    notebook.until(lambda: span(notebook, name).length < whole.length, f"that {name} is zoomed")
    notebook.until(lambda: span(notebook, "HeatMap") == span(notebook, name), "that the liquidity is, too")
    press(notebook, "End", name=name)
    notebook.until(lambda: span(notebook, "HeatMap").live, "that it is live again")

    heat = notebook.widget("HeatMap")
    heat.until_still()
    assert heat.differs_anew() < 0.001


# --- tools ---


@pytest.mark.parametrize("name", ["PriceChart", "HeatMap", "DepthChart"])
def test_pictures_are_saved(notebook: Notebook, name: str, tmp_path: "Path") -> None:
    for kind in ("PNG", "SVG"):
        with notebook.page.expect_download() as coming:
            notebook.page.click(f"[data-widget={name}] button:text-is('{kind}')")
        assert coming.value.suggested_filename.endswith(f".{kind.lower()}")
        coming.value.save_as(tmp_path / kind)

    png = (tmp_path / "PNG").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert len(png) > 10_000
    svg = ET.fromstring((tmp_path / "SVG").read_text())  # noqa: S314  # what our own script wrote
    kinds = [element.tag.rpartition("}")[2] for element in svg.iter()]
    assert "image" not in kinds
    assert kinds.count("text") > 8
    assert kinds.count("rect") + kinds.count("path") > 8
    title = svg.findtext("{http://www.w3.org/2000/svg}title", "")
    assert title.endswith(f" of {notebook.given('dash.price.label')}")


def switch(notebook: Notebook, name: str, text: str, *, on: bool) -> None:
    """Press a switch of one chart, and see that it is turned in both charts over time."""
    notebook.page.click(f"[data-widget={name}] button:text-is('{text}')")
    pressed = [
        notebook.page.locator(f"[data-widget={one}] button:text-is('{text}')[aria-pressed={str(on).lower()}]")
        for one in TIME_CHARTS
    ]
    notebook.until(lambda: all(button.count() for button in pressed), f"that {text} is {on} in both charts")


def test_prices_are_spaced_by_their_log_odds_in_both_charts(notebook: Notebook) -> None:
    middle = """(name) => {
      const { area, y } = document.querySelector(`[data-widget=${name}]`).viewed.scales;
      const [low, high] = [y.back(area.bottom), y.back(area.top)];
      const logit = (price) => Math.log(price / (1 - price));
      const between = y.back((area.bottom + area.top) / 2);
      return [between - (low + high) / 2, logit(between) - (logit(low) + logit(high)) / 2];
    }"""
    for name in TIME_CHARTS:
        assert notebook.page.evaluate(middle, name)[0] == pytest.approx(0, abs=1e-9)

    switch(notebook, "HeatMap", "log-odds", on=True)

    for name in TIME_CHARTS:
        assert notebook.page.evaluate(middle, name)[1] == pytest.approx(0, abs=1e-6)
    switch(notebook, "PriceChart", "log-odds", on=False)


def test_times_are_those_of_the_place_on_request(notebook: Notebook) -> None:
    devtools(notebook)("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    hover(notebook, 0.4)
    utc = boxed(notebook, "HeatMap")["time"]

    switch(notebook, "HeatMap", "local", on=True)
    hover(notebook, 0.4)
    notebook.until(lambda: "UTC+05:30" in boxed(notebook, "HeatMap")["time"], "that the time is that of the place")

    local = datetime.fromisoformat(boxed(notebook, "HeatMap")["time"].replace(" UTC", ""))
    assert local == datetime.fromisoformat(utc.replace(" UTC", "+00:00"))
    switch(notebook, "PriceChart", "local", on=False)


def test_a_chart_is_named_and_says_in_words_what_it_shows(notebook: Notebook) -> None:
    label = str(notebook.given("dash.price.label"))
    for name, title in (("PriceChart", "Price"), ("HeatMap", "Liquidity"), ("DepthChart", "Depth")):
        drawn = notebook.page.locator(f"[data-widget={name}] canvas").first
        assert drawn.get_attribute("aria-label") == f"{title} of {label}"
        assert drawn.get_attribute("tabindex") == "0"
        assert drawn.get_attribute("role") == "application"
        words = notebook.page.locator(f"[id={drawn.get_attribute('aria-describedby')}]")
        assert words.get_attribute("aria-live") == "off"
        for button in notebook.page.locator(f"[data-widget={name}] button").all():
            assert button.get_attribute("aria-label")
    notebook.until(lambda: "One gap: " in words_of(notebook, "PriceChart"), "that the gap is told")
    assert "Bid 0." in words_of(notebook, "PriceChart")


def words_of(notebook: Notebook, name: str) -> str:
    return notebook.page.locator(f"[data-widget={name}] p").first.inner_text()


def test_the_depth_under_the_pointer_is_told(notebook: Notebook) -> None:
    place, depth = canvas(notebook, "DepthChart"), notebook.widget("DepthChart")

    notebook.page.mouse.move(place["x"] + 50, place["y"] + 100)
    told = boxed(notebook, "DepthChart")
    assert f"{farthest(depth, 'bid'):,.0f}"[:2].rstrip(",") in told[next(iter(told))]
    assert next(iter(told)).startswith("bids from")

    notebook.page.mouse.move(place["x"] + place["width"] - 20, place["y"] + 100)
    notebook.until(lambda: next(iter(box(notebook, "DepthChart") or [""])).startswith("asks up to"), "the asks")
    press(notebook, "ArrowLeft", "ArrowLeft", name="DepthChart")
    assert boxed(notebook, "DepthChart")


def farthest(depth: Widget, side: str) -> float:
    return depth.arrays[f"{side}_totals"][:15][-1]
