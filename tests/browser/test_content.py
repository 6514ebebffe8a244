"""Candles, outcomes and own orders, each alone in an empty page and without a kernel."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pytest
from support.notebook import Desk

from pmlive.widgets import CandleChart, OutcomesChart, PriceChart

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

# Draws a chart of arrays, each with its columns, and gives how many pixels of full colour there are in boxes, whose
# edges are shares of the area of the chart.
_DRAWN = """async ([code, arrays, values, boxes]) => {
  const chart = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const el = document.createElement("div");
  el.style.width = "900px";
  document.body.append(el);
  let hear = null;
  const model = {
    get: (name) => (name === "_anywidget_id" ? "test.Chart" : null),
    on: (_, receive) => { hear = receive; },
    off() {},
    send() {},
  };
  chart.default.render({ model, el });
  const named = Object.entries(arrays);
  const sent = { kind: "whole", number: 1, sent: 1, values, grows: [], capacity: 100 };
  sent.arrays = named.map(([name, [columns, numbers]]) => [name, numbers.length / columns, columns]);
  const numbers = named.flatMap(([, [, each]]) => each.map((one) => one ?? NaN));
  hear(sent, [new DataView(new Float64Array(numbers).buffer)]);
  while (el.dataset.number !== "1") await new Promise(requestAnimationFrame);
  const canvas = el.querySelector("canvas");
  const { left, top, right, bottom } = el.viewed.scales.area;
  const [wide, high] = [right - left, bottom - top];
  return boxes.map(([x0, y0, x1, y1]) => {
    const [x, y] = [Math.round(left + wide * x0), Math.round(top + high * y0)];
    const { data } = canvas.getContext("2d").getImageData(
      x, y, Math.round(left + wide * x1) - x, Math.round(top + high * y1) - y);
    return data.filter((part, place) => place % 4 === 3 && part > 200).length;
  });
}"""


def at(second: float) -> float:
    return 1_790_000_000_000 + 1000 * second


@pytest.fixture
def page(lab: Desk) -> "Page":
    return lab.page.context.new_page()


def pixels(
    page: "Page",
    chart: type[object],
    arrays: Mapping[str, tuple[int, Sequence[float | None]]],
    values: Mapping[str, object],
    boxes: Sequence[tuple[float, float, float, float]],
) -> list[int]:
    """Count the pixels of full colour in boxes of a chart."""
    given = {name: list(each) for name, each in arrays.items()}
    code = str(getattr(chart, "_esm"))  # noqa: B009  # what a page gets
    found: list[int] = page.evaluate(_DRAWN, [code, given, dict(values), [list(box) for box in boxes]])
    page.close()
    return found


def test_candles_are_filled_where_they_fall_hollow_where_they_rise_and_missing_in_a_gap(page: "Page") -> None:
    # Of five minutes the first rises, the second falls, the third is lost, and the fourth and fifth stand still.
    bars = [
        [at(0), 0.4, 0.6, 0.4, 0.6, 10, 0],
        [at(60), 0.6, 0.6, 0.4, 0.4, 10, 0],
        [at(180), 0.4, 0.4, 0.4, 0.4, 10, 0],
    ]
    arrays = {
        "candles": (7, [number for bar in bars for number in bar]),
        "forming": (7, [at(240), 0.4, 0.4, 0.4, 0.4, 0, 0]),
        "gap_starts": (1, [at(120)]),
        "gap_ends": (1, [at(180)]),
    }
    values = {"now": at(300), "window": 300_000, "of": "mid", "every": "1m", "length": 60_000, "label": "", "doubt": ""}
    prices = [(number / 5, 0.0, (number + 1) / 5, 0.75) for number in range(5)]
    volumes = [(number / 5 + 0.02, 0.82, (number + 1) / 5 - 0.02, 0.97) for number in range(5)]

    rose, fell, lost, stood, forms, *traded = pixels(page, CandleChart, arrays, values, [*prices, *volumes])

    assert fell > 5 * rose
    assert rose > 3 * stood
    assert stood > 50
    assert forms > 50
    assert lost == 0
    assert [each > 0 for each in traded] == [True, True, False, True, False]


def test_lines_of_outcomes_are_blank_in_a_gap_and_have_names(page: "Page") -> None:
    # Of a minute, the upper line has a gap from 20 s to 40 s, and the lower one ends at 30 s.
    rows = [(0, 0.7, 0), (0, 0.3, 1), (20, None, 0), (30, 0.31, 1), (40, 0.7, 0)]
    arrays = {
        "times": (1, [at(second) for second, _, _ in rows]),
        "values": (1, [value for _, value, _ in rows]),
        "lines": (1, [line for _, _, line in rows]),
        "holds": (1, [1, 0]),
    }
    values = {
        "now": at(60),
        "window": 60_000,
        "of": "mid",
        "names": ["Yes", "No"],
        "doubts": ["", "no book any more"],
        "states": ["", "lost"],
        "label": "",
        "doubt": "",
    }
    upper = [(begin, 0.0, end, 0.4) for begin, end in ((0.02, 0.32), (0.35, 0.65), (0.68, 0.98), (1.05, 1.3))]
    lower = [(begin, 0.6, end, 1.0) for begin, end in ((0.02, 0.48), (0.52, 0.98), (1.05, 1.3))]

    before, missing, after, name, held, ended, other = pixels(page, OutcomesChart, arrays, values, [*upper, *lower])

    assert min(before, after, name, held, other) > 0
    assert missing == ended == 0


def test_own_orders_rest_as_lines_and_fills_are_marks(page: "Page") -> None:
    # An order rests from 10 s to 30 s, another from 40 s on, and the first was filled at 30 s.
    arrays = {
        "times": (1, [at(0), at(0.1)]),
        "bids": (1, [0.2, None]),
        "asks": (1, [0.8, None]),
        "mids": (1, [0.5, None]),
        "orders": (5, [0, at(10), None, 0.6, 1, 1, at(40), None, 0.4, 0, 0, at(10), at(30), 0.6, 1]),
        "fills": (6, [0, at(30), 5, 0.6, 1, 0]),
    }
    values = {"now": at(60), "window": 60_000, "label": "", "doubt": ""}
    upper = [(begin, 0.2, end, 0.49) for begin, end in ((0.05, 0.15), (0.2, 0.45), (0.47, 0.53), (0.55, 0.95))]
    lower = [(begin, 0.51, end, 0.8) for begin, end in ((0.2, 0.6), (0.7, 0.95))]

    before, rests, filled, after, not_yet, sells = pixels(page, PriceChart, arrays, values, [*upper, *lower])

    assert min(rests, sells) > 100
    assert filled > rests / 4
    assert before == after == not_yet == 0
