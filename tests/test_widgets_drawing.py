"""What the scripts of charts draw, and where: run by Node, with a pen that notes what it is told."""

import json
import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.page import evaluated

from pmlive.widgets.canvas import script

# A day and an hour at which times begin, in milliseconds since 1970.
BEGIN = 1_796_000_400_000


def boxes(prices: list[float | None], ratio: float) -> list[tuple[float, float, float, float]]:
    """Draw a line of prices, a third of a pixel apart, and return its rectangles in pixels of the screen."""
    asked = f"""(() => {{
      const found = [];
      const note = (...box) => found.push(box.map((one) => one * {ratio}));
      const pen = {{ getTransform: () => ({{ a: {ratio} }}), fillRect: note }};
      const prices = {json.dumps(prices)}.map((one) => one ?? NaN);
      const columns = columnsOf(prices.map((_, at) => at), prices, 0, prices.length, (time) => 46 + time / 3);
      const y = (price) => 300 - 211.3 * price;
      drawSteps({{ pen }}, columns, {{ colour: "#000", width: 1.25 }}, 46 + prices.length, y);
      return found;
    }})()"""
    return msgspec.convert(evaluated(asked, scripts=script("steps")), list[tuple[float, float, float, float]])


@pytest.mark.parametrize("ratio", [1.0, 1.25, 2.0, 3.0])
@examples(5)
@given(prices=st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=40))
def test_the_edges_of_lines_are_those_of_pixels_of_the_screen(ratio: float, prices: list[float | None]) -> None:
    drawn = boxes(prices, ratio)

    assert bool(drawn) == any(price is not None for price in prices)
    # An edge within a pixel is a shade of it, and two shades that overlap are darker than the rest of the line.
    assert all(abs(edge - round(edge)) < 1e-6 for box in drawn for edge in box)
    # Flat or upright, it is as thick everywhere.
    assert {round(min(wide, high)) for _, _, wide, high in drawn} <= {max(1, round(1.25 * ratio + 1e-9))}


def head_of(chart: str, name: str, doubt: str) -> list[str]:
    """Return what a chart writes over and beside its axes, with a bid, an ask and a mid, and what it says of them."""
    asked = f"""(() => {{
      const said = [];
      const pen = {{ fillText: (text) => said.push(text), measureText: () => ({{ width: 9 }}), fillRect() {{}} }};
      const sheet = {{ pen, width: 900, height: 200, paint: {{}}, area: {{ left: 9, right: 9, top: 9, bottom: 9 }} }};
      const rows = {{ bids: [0.41], mids: [0.42], asks: [0.43] }};
      const values = {{ label: "A", doubt: {json.dumps(doubt)}, every: "5s", of: "mid" }};
      const state = {{ values, array: (name) => rows[name] || [], came: () => 1, columns: () => [] }};
      const view = {{ isLive: true, edge: 0 }};
      {name}
      return said;
    }})()"""
    parts = ("times", "axes", "viewport", "pointer", "chart", "steps", "fills", chart)
    return msgspec.convert(evaluated(asked, scripts=script(*parts)), list[str])


HEADS = {
    "price": "drawPriceHead(sheet, state, view, (price) => price); said.push(Price.prototype.told(state));",
    "candles": "drawCandleHead(sheet, state, view, [0, 0.4, 0.43, 0.4, 0.42, 1, 0], (price) => price);",
}


@pytest.mark.parametrize("chart", HEADS)
def test_no_price_is_told_as_that_of_now_while_the_book_cannot_be_trusted(chart: str) -> None:
    trusted, doubted = (" ".join(head_of(chart, HEADS[chart], doubt)) for doubt in ("", "lost since noon"))

    assert "0.42" in trusted
    assert re.findall(r"0\.4\d", doubted) == []


@pytest.mark.parametrize(
    ("count", "told", "on_axis"),
    [
        (0, "0", "0"),
        (0.5, "0.5", "0.5"),
        (200, "200", "200"),
        (5_000, "5,000", "5k"),
        (7_500, "7,500", "7.5k"),
        (20_000, "20k", "20k"),
        (2_000_000, "2M", "2M"),
        (8_140_000, "8.1M", "8.14M"),
    ],
)
def test_shares_are_written_shortly_and_alike_on_an_axis(count: float, told: str, on_axis: str) -> None:
    assert evaluated(f"[countText({count}), roundText({count})]", scripts=script("axes")) == [told, on_axis]


@pytest.mark.parametrize(("most", "marks"), [(0, {}), (1, {"0": 110, "1": 14}), (7_420, {"0": 110, "5k": 45})])
def test_volumes_have_a_round_number_beside_them_at_its_height(most: float, marks: dict[str, float]) -> None:
    asked = f"""(() => {{
      const found = {{}};
      const pen = {{ fillText: (text, _, y) => (found[text] = Math.round(y)) }};
      const area = {{ left: 40, top: 6, bottom: 106 }};
      const up = scale(0, {most} || 1, area.bottom, area.top + 4);
      drawVolumeMarks({{ pen, paint: {{}} }}, {{ area }}, {most}, up);
      return found;
    }})()"""
    code = script("times", "axes", "viewport", "pointer", "chart", "candles").partition("export default")[0]

    assert evaluated(asked, scripts=code) == marks


def test_the_words_of_buttons_have_the_colour_of_all_words_whatever_the_page_has() -> None:
    asked = """(() => {
      globalThis.colours = () => ({ text: "#e0e0e0", ground: "#111111" });
      const button = () => ({ style: {}, getAttribute() {}, setAttribute() {} });
      const buttons = [{ button: button() }, { button: button(), isOn: () => false }];
      Toolbar.prototype.refresh.call({ said: { style: {} }, stage: {}, buttons }, "");
      return buttons.map(({ button }) => button.style.color);
    })()"""

    assert evaluated(asked, scripts=script("toolbar")) == ["#e0e0e0", "#e0e0e0"]


class Drawn(msgspec.Struct):
    """What a chart of two outcomes drew: boxes that were cleared and filled, and what it says."""

    cleared: list[tuple[float, float, float, float]]
    filled: list[tuple[float, float, float, float]]
    said: list[str]
    at: list[list[str]]


def outcomes_of(arrays: dict[str, list[float | None]], states: list[str], time: float) -> Drawn:
    """Draw a minute of two outcomes, one at 0.7 and one at 0.3 dollars, on 600 pixels, and ask what was at a time."""
    rows = {"times": [BEGIN, BEGIN], "values": [0.7, 0.3], "lines": [0, 1], "holds": [1, 1], **arrays}
    asked = f"""(() => {{
      const found = {{ cleared: [], filled: [], said: [] }};
      const told = {{
        clearRect: (...box) => found.cleared.push(box),
        fillRect: (...box) => pen.fillStyle === "gap" && found.filled.push(box),
        fillText: (text) => found.said.push(text),
        measureText: () => ({{ width: 9 }}),
        getTransform: () => ({{ a: 1 }}),
      }};
      const pen = new Proxy(told, {{ get: (its, name) => its[name] ?? (() => {{}}) }});
      const area = {{ left: 0, right: 600, top: 0, bottom: 200 }};
      const paint = {{ gap: "gap", lines: ["a", "b"] }};
      const rows = {json.dumps(rows)};
      const values = {{ label: "A", doubt: "", of: "mid", names: ["A", "B"], states: {json.dumps(states)} }};
      const state = {{ values, array: (name) => (rows[name] || []).map((one) => one ?? NaN) }};
      const drawn = {{ from: {BEGIN}, to: {BEGIN + 60_000} }};
      const drawing = new OutcomesDrawing();
      drawing.draw({{ pen, width: 800, height: 230, paint, area }}, state, {{ drawn, edge: drawn.to }});
      return {{ ...found, at: drawing.at(state, {{ time: {time}, isGap: false }}) }};
    }})()"""
    parts = ("times", "axes", "viewport", "pointer", "chart", "steps", "outcomes")
    # A script of the page ends with what it gives to it.
    return msgspec.convert(evaluated(asked, scripts=script(*parts).partition("export default")[0]), Drawn)


def test_a_gap_of_all_outcomes_is_hatched_as_high_as_the_chart_and_one_of_a_single_line_where_it_was() -> None:
    gaps: dict[str, list[float | None]] = {
        "gap_starts": [BEGIN + 10_000, BEGIN + 50_000],
        "gap_ends": [BEGIN + 20_000, None],
        "blank_lines": [1],
        "blank_starts": [BEGIN + 30_000],
        "blank_ends": [BEGIN + 40_000],
    }

    drawn = outcomes_of(gaps, ["", ""], BEGIN + 35_000)

    assert drawn.cleared == [(100, 0, 100, 200), (500, 0, 100, 200)]
    assert [box for box in drawn.filled if box in drawn.cleared] == drawn.cleared
    (blank,) = [box for box in drawn.filled if box not in drawn.cleared]
    assert (blank[0], blank[2], blank[3]) == (300, 100, 10)
    # 0.3 is at the lower end of prices, with the room under it.
    assert 150 < blank[1] < 190
    assert drawn.at == [["A", "0.70"], ["B", "no data"]]


def test_the_word_for_an_outcome_whose_market_is_over_stands_in_the_place_of_its_price() -> None:
    said = outcomes_of({}, ["won", ""], BEGIN).said

    assert "A  won" in said
    assert "B  0.30" in said


def test_the_names_of_many_outcomes_do_not_leave_the_chart() -> None:
    asked = """(() => {
      const found = [];
      const pen = new Proxy({ fillText: (_, x, y) => found.push(y), measureText: () => ({ width: 9 }) }, {
        get: (its, name) => its[name] ?? (() => {}),
      });
      const lines = [...Array(20).keys()].map((at) => ({ name: `${at}`, state: "", last: 0.01 * at }));
      const area = { left: 0, right: 600, top: 30, bottom: 266 };
      drawNames({ pen, area, paint: {}, width: 800 }, lines, lines.map(() => ({ pattern: [] })), scale(0, 1, 266, 30));
      return found;
    })()"""
    code = script("times", "axes", "viewport", "pointer", "chart", "steps", "outcomes").partition("export default")[0]

    places = sorted(msgspec.convert(evaluated(asked, scripts=code), list[float]))

    # A line of text is 11 pixels high, and drawn from 4 pixels below its middle.
    assert places[0] >= 30 + 4
    assert places[-1] <= 266
    assert min(after - before for before, after in pairwise(places)) > 11


class Marks(msgspec.Struct):
    """The marks of an axis of times: where they are, and what is written there."""

    at: list[float]
    texts: list[str]


def marks(seconds: float, pixels: int) -> Marks:
    asked = f"""(() => {{
      const {{ found, text }} = timeTicks({BEGIN}, {BEGIN + seconds * 1000}, {pixels});
      const at = found.map((time) => ((time - {BEGIN}) / {seconds * 1000}) * {pixels});
      return {{ at, texts: found.map(text) }};
    }})()"""
    return msgspec.convert(evaluated(asked, scripts=script("times")), Marks)


@pytest.mark.parametrize("pixels", [240, 300, 650, 1200])
@pytest.mark.parametrize("seconds", [1, 15, 60, 300, 900, 3600, 21_600, 86_400])
def test_every_window_has_marks_enough_to_read_its_times_and_room_for_their_texts(seconds: int, pixels: int) -> None:
    found = marks(seconds, pixels)

    assert len(found.at) >= 2
    letters = max(map(len, found.texts))
    assert all(after - before >= 7 * letters + 8 for before, after in zip(found.at, found.at[1:], strict=False))
