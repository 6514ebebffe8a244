"""What charts in the browser write and mark over what they draw: the scripts, run by Node, with a pen that notes it."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from support.page import evaluated

from pmlive.widgets.canvas import script

PARTS = ("times", "axes", "stage", "viewport", "pointer", "chart", "steps", "fills")
GROUND = "ground"
AREA = {"left": 46, "right": 846, "top": 30, "bottom": 266}
# A letter is 6 pixels wide. Boxes and texts are noted with their colour; of lines, where they begin and end.
_PEN = """
  const noted = { boxes: [], texts: [], lines: [] };
  const pen = new Proxy({ from: [0, 0], fillStyle: "", strokeStyle: "", textAlign: "left" }, {
    get: (own, name) => ({
      measureText: (text) => ({ width: 6 * text.length }),
      fillRect: (x, y, w, h) => noted.boxes.push([noted.texts.length, own.fillStyle, x, y, x + w, y + h]),
      fillText: (text, x, y) => {
        const before = { left: 0, center: 3, right: 6 }[own.textAlign] * text.length;
        noted.texts.push([text, own.fillStyle, x - before, y]);
      },
      moveTo: (x, y) => (own.from = [x, y]),
      lineTo: (x, y) => (noted.lines.push([own.strokeStyle, ...own.from, x, y]), (own.from = [x, y])),
    })[name] || own[name] || (() => {}),
    set: (own, name, value) => ((own[name] = value), true),
  });
  const names = ["text", "quiet", "ground", "doubt", "bid", "ask", "mid", "gap", "grid", "band"];
  const paint = { ...Object.fromEntries(names.map((name) => [name, name])), lines: ["line"] };
"""


class Noted(msgspec.Struct):
    """Boxes with the number of texts before them, colours and edges; texts with where they begin; lines."""

    boxes: list[tuple[int, str, float, float, float, float]]
    texts: list[tuple[str, str, float, float]]
    lines: list[tuple[str, float, float, float, float]]

    def has_ground(self, number: int) -> bool:
        """Check whether a text stands on a box that was drawn before it."""
        text, _, x, y = self.texts[number]
        return any(
            before <= number and left <= x and x + 6 * len(text) <= right and top <= y - 8 and y <= bottom
            for before, _, left, top, right, bottom in self.boxes
        )


def drawn(chart: str, script_text: str, **given: object) -> Noted:
    """Return what a script of a chart draws."""
    sheet = {"area": AREA, "width": 896, "height": 300}
    asked = f"""(() => {{
      {_PEN}
      const given = {json.dumps(given)};
      const sheet = {{ pen, paint, ...{json.dumps(sheet)} }};
      const {{ area }} = sheet;
      const y = (price) => area.bottom - price * (area.bottom - area.top);
      const x = (time) => area.left + time;
      const nan = (rows) => Float64Array.from((rows || []).map((one) => one ?? NaN));
      const stateOf = (arrays, values = {{}}) => ({{
        values,
        array: (name) => nan(arrays[name]),
        columns: (name) => ({{ orders: 5, fills: 6 }})[name] || 1,
        came: () => 1,
      }});
      {script_text}
      return noted;
    }})()"""
    return msgspec.convert(evaluated(asked, scripts=script(*PARTS, chart)), Noted)


@pytest.mark.parametrize("price", [0.0, 0.5, 0.99])
def test_a_marked_price_is_written_on_a_ground_of_its_own(price: float) -> None:
    noted = drawn("price", "drawMark(sheet, given.price, y);", price=price)

    ((text, _, _, _),) = noted.texts
    assert text == f"marked {price:.2f}"
    assert noted.has_ground(0)


@pytest.mark.parametrize("words", [6, 60])
def test_a_reason_for_doubt_is_written_on_a_ground_of_its_own(words: int) -> None:
    noted = drawn("price", "drawDoubt(sheet, given.doubt);", doubt=" ".join(["disconnected"] * words))

    ground = noted.boxes[1:]
    assert len(ground) == 1
    assert all(
        left <= x and x + 6 * len(text) <= right and top <= y - 8 and y <= bottom
        for _, _, left, top, right, bottom in ground
        for text, _, x, y in noted.texts
    )


@pytest.mark.parametrize("buys", [0, 1])
@pytest.mark.parametrize("rested", [0.0, 0.5, 11.0, 100.0])
def test_an_own_order_that_rested_an_instant_is_as_long_as_can_be_seen(rested: float, buys: int) -> None:
    script_text = "drawOwn(sheet, stateOf({ orders: [0, 100, 100 + given.rested, 0.5, given.buys] }), x, y);"
    noted = drawn("price", script_text, rested=rested, buys=buys)

    ((colour, left, _, right, _),) = noted.lines
    assert colour == ("bid" if buys else "ask")
    assert right - left == pytest.approx(max(12, rested))
    assert (left + right) / 2 == pytest.approx(146 + rested / 2)


_QUESTIONS = ("Will it rain?", "the committee of the whole " * 12, "هل ستمطر في لندن " * 9, "x" * 300)
LABELS = [f"{question} - {outcome}" for question in _QUESTIONS for outcome in ("Yes", "No", "Over 2.5")]


def test_a_name_that_is_shortened_keeps_its_outcome() -> None:
    widths = list(range(160, 900, 37))
    script_text = """
      for (const label of given.labels) for (const width of given.widths) {
        pen.fillText(shortenedLabel(pen, label, width), 0, 0);
      }
    """

    noted = drawn("price", script_text, labels=LABELS, widths=widths)

    asked = [(label, width) for label in LABELS for width in widths]
    for (label, width), (shown, *_) in zip(asked, noted.texts, strict=True):
        assert 6 * len(shown) <= width
        assert shown.endswith(label[label.rindex(" - ") :])
        assert shown == label or (6 * len(label) > width and "…" in shown)


@pytest.mark.parametrize("since", [None, 300])
def test_a_gap_that_is_open_reaches_to_the_end_of_the_axis(since: float | None) -> None:
    script_text = """
      const state = stateOf({ gap_starts: [100, 400], gap_ends: [200, null] });
      shadeGaps(sheet, state, x, 800, given.since ?? undefined);
    """
    noted = drawn("price", script_text, since=since)

    gaps = [(left, right) for _, colour, left, _, right, _ in noted.boxes if colour == "gap"]
    assert gaps == ([(146, 246), (446, 846)] if since is None else [(446, 846)])


def empty_depth(doubt: str) -> Noted:
    return drawn(
        "depth",
        "drawDepth(sheet, stateOf({}, { mid: null, label: '', state: 'verified', doubt: given.doubt }));",
        doubt=doubt,
    )


def test_a_depth_chart_without_a_price_says_so() -> None:
    trusted, doubted = ([text for text, *_ in empty_depth(doubt).texts] for doubt in ("", "disconnected"))

    assert "nobody offers a price now" in trusted
    assert "nobody offers a price now" not in doubted


def names(values: Sequence[float | None]) -> Noted:
    script_text = """
      const lines = given.values.map((last) => ({ name: "Yes", doubt: "", last: last ?? NaN }));
      drawNames(sheet, lines, lines.map(() => ({ colour: "line", pattern: [] })), y);
    """
    return drawn("outcomes", script_text, values=values)


def test_the_name_of_an_outcome_without_a_value_does_not_point_at_one() -> None:
    known, missing = (min(left for _, left, _, _, _ in names([value]).lines) for value in (0.2, None))

    assert known == AREA["right"] + 2
    assert missing == AREA["right"] + 10


def close_of(of: str, forming: Sequence[float]) -> list[str]:
    """Return the price that candles show beside their axis as the last; the last whole candle closed at 0.4."""
    candle = [0, 0.4, 0.4, 0.4, 0.4, 1, 0]
    script_text = """
      const values = { of: given.of, every: "5s", length: 5, label: "" };
      const state = stateOf({ candles: given.candle, forming: given.forming }, values);
      const candle = presentCandle(state);
      pen.fillText(candle ? priceText(candle[CLOSE]) : "none", 0, 0);
    """
    return [text for text, *_ in drawn("candles", script_text, of=of, forming=list(forming), candle=candle).texts]


def test_the_last_candle_is_the_price_of_now_only_while_it_lasts() -> None:
    forming = [5, 0.4, 0.5, 0.4, 0.5, 1, 0]

    assert close_of("mid", forming) == close_of("trade", forming) == ["0.50"]
    assert close_of("mid", []) == ["none"]
    assert close_of("trade", []) == ["0.40"]


@pytest.mark.parametrize("apart", [0, 6, 12, 20])
def test_the_price_at_the_pointer_leaves_no_piece_of_a_text_of_the_axis(apart: int) -> None:
    script_text = "drawCross(sheet, { x: 300, y: 150, time: '', price: '0.500', marks: [150 + given.apart, 30] });"
    noted = drawn("price", script_text, apart=apart)

    covered = [
        (top, bottom) for _, colour, left, top, right, bottom in noted.boxes if colour == GROUND and left == 0 < right
    ]
    assert covered == ([(143 + apart, 157 + apart)] if apart < 13 else [])
    assert [text for text, *_ in noted.texts] == ["0.500"]


@pytest.mark.parametrize(("at", "is_covered"), [(300, True), (240, True), (200, False), (400, False)])
def test_the_time_at_the_pointer_leaves_no_piece_of_a_date(at: int, is_covered: bool) -> None:  # noqa: FBT001
    script_text = """
      const cross = { x: 300, y: NaN, time: "12:00:00.000", price: "", dates: [[given.at, "2026-11-24"]] };
      drawCross(sheet, cross);
    """
    noted = drawn("price", script_text, at=at)

    covered = [(left, right) for _, colour, left, _, right, _ in noted.boxes if colour == GROUND]
    assert covered == ([(at - 30, at + 30)] if is_covered else [])


def test_levels_are_no_taller_than_a_share_of_the_height() -> None:
    ends = """
      for (const logit of [false, true]) for (const price of [0.01, 0.5, 0.99]) {
        const odds = priceScale(0.005, 0.995, area, logit);
        const [top, bottom] = levelBox(price, given.tick, area, odds);
        pen.fillRect(0, top, 1, bottom - top);
        pen.fillText("", 0, odds(price));
      }
    """
    for tick in (0.01, 0.001, 0.1):
        noted = drawn("heat", ends, tick=tick)
        tallest = 0.06 * (AREA["bottom"] - AREA["top"])
        for (_, _, _, top, _, bottom), (_, _, _, middle) in zip(noted.boxes, noted.texts, strict=True):
            assert 0 < bottom - top <= tallest + 1e-9
            assert top < middle < bottom
        # Where ticks are nearer than that, a level begins where the next one ends.
        height = (AREA["bottom"] - AREA["top"]) * tick / 0.99
        assert noted.boxes[1][5] - noted.boxes[1][3] == pytest.approx(min(height, tallest))
