"""The price chart alone, in an empty page and without a kernel."""

from typing import TYPE_CHECKING

import pytest
from support.notebook import Desk

from pmlive.widgets.canvas import script

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

# A minute: prices in its first third, which hold, a gap from 30 s to 40 s, and a trade in it at 35 s. Gives how many
# pixels of full colour there are where the price holds, in the gap before the trade, and around the trade.
_DRAWN = """async (code) => {
  const chart = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const el = document.createElement("div");
  el.style.width = "900px";
  document.body.append(el);
  let hear = null;
  const model = {
    get: (name) => (name === "_anywidget_id" ? "test.PriceChart" : null),
    on: (_, receive) => { hear = receive; },
    off() {},
    send() {},
  };
  chart.default.render({ model, el });
  const at = (seconds) => 1790000000000 + 1000 * seconds;
  const arrays = Object.entries({
    times: [0, 10, 20].map(at),
    bids: [0.4, 0.5, 0.5],
    asks: [0.5, 0.6, 0.6],
    mids: [0.45, 0.55, 0.55],
    trade_times: [at(35)],
    trade_prices: [0.5],
    trade_sizes: [10],
    trade_buys: [1],
    gap_starts: [at(30)],
    gap_ends: [at(40)],
  });
  const values = { now: at(60), window: 60000, label: "", doubt: "" };
  const sent = { kind: "whole", number: 1, sent: 1, values, grows: [], capacity: 100 };
  sent.arrays = arrays.map(([name, numbers]) => [name, numbers.length, 1]);
  hear(sent, [new DataView(new Float64Array(arrays.flatMap(([, numbers]) => numbers)).buffer)]);
  while (el.dataset.number !== "1") await new Promise(requestAnimationFrame);
  const canvas = el.querySelector("canvas");
  const full = (from, to) => {
    const x = (seconds) => Math.round(46 + ((canvas.width - 96) * seconds) / 60);
    const { data } = canvas.getContext("2d").getImageData(x(from), 30, x(to) - x(from), 240);
    return data.filter((part, place) => place % 4 === 3 && part > 200).length;
  };
  return [full(21, 29), full(31, 34), full(34.5, 35.5)];
}"""


@pytest.fixture
def page(lab: Desk) -> "Page":
    return lab.page.context.new_page()


def test_a_price_that_holds_is_not_drawn_through_a_gap_but_trades_in_it_are(page: "Page") -> None:
    held, missing, traded = page.evaluate(_DRAWN, script("link", "theme", "axes", "fills", "price"))
    page.close()

    assert held > 0
    assert missing == 0
    assert traded > 0
