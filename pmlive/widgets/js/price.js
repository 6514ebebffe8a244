// Best bid and ask with the band between them, their middle, trades as marks, and gaps shaded.

const HEIGHT = 300;

// The first index whose price still holds at a time.
function firstAt(times, from) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= from) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

function range(state, start, from) {
  let low = Infinity;
  let high = -Infinity;
  const widen = (value) => {
    if (value < low) low = value;
    if (value > high) high = value;
  };
  for (const name of ["bids", "asks"]) state.array(name).subarray(start).forEach(widen);
  const times = state.array("trade_times");
  state.array("trade_prices").forEach((price, at) => times[at] >= from && widen(price));
  if (low > high) return [0, 1];
  const margin = Math.max((high - low) * 0.08, 0.002);
  return [Math.max(0, low - margin), Math.min(1, high + margin)];
}

// What prices do in one column of pixels each: where they come in, how far they go, and where they leave. However many
// prices there are, no more is drawn than can be seen. Columns without a price, where a side is empty, are left out, and
// the next one begins a new line.
function columnsOf(times, prices, start, x) {
  const found = [];
  let column = null;
  let broken = true;
  for (let at = start; at < times.length; at += 1) {
    const price = prices[at];
    const pixel = Math.round(x(times[at]));
    if (Number.isNaN(price)) {
      if (!broken) found.push({ pixel, end: true });
      broken = true;
      column = null;
      continue;
    }
    if (column && column.pixel === pixel) {
      column.low = Math.min(column.low, price);
      column.high = Math.max(column.high, price);
      column.last = price;
    } else {
      column = { pixel, first: price, low: price, high: price, last: price, begins: broken, end: false };
      found.push(column);
    }
    broken = false;
  }
  return found;
}

// Each price holds until the next; where there is none the line is broken.
function steps(pen, columns, until, y) {
  pen.beginPath();
  let last = null;
  for (const { pixel, first, low, high, last: leaves, begins, end } of columns) {
    if (last !== null && !begins) pen.lineTo(pixel, y(last));
    last = end ? null : leaves;
    if (end) continue;
    if (begins) pen.moveTo(pixel, y(first));
    if (low !== high) {
      pen.lineTo(pixel, y(low));
      pen.lineTo(pixel, y(high));
    }
    pen.lineTo(pixel, y(leaves));
  }
  if (last !== null) pen.lineTo(until, y(last));
  pen.stroke();
}

// The band is between the last bid and the last ask of each column, where there are both.
function drawBand({ pen, paint }, times, bids, asks, start, until, x, y) {
  pen.fillStyle = paint.band;
  let from = null;
  for (let at = start; at <= times.length; at += 1) {
    const pixel = at < times.length ? Math.round(x(times[at])) : until;
    if (from !== null && pixel > from) {
      const [bid, ask] = [bids[at - 1], asks[at - 1]];
      if (bid <= ask) pen.fillRect(from, y(ask), pixel - from, y(bid) - y(ask));
    }
    from = pixel;
  }
}

// A triangle that points up where the taker bought, and down where he sold; larger trades are larger.
function drawTrades({ pen, paint }, state, from, x, y) {
  const [prices, sizes, buys] = ["trade_prices", "trade_sizes", "trade_buys"].map((name) => state.array(name));
  state.array("trade_times").forEach((time, at) => {
    if (time < from) return;
    const size = 2.5 + Math.min(4, Math.log10(1 + sizes[at]));
    const up = buys[at] ? 1 : -1;
    pen.fillStyle = buys[at] ? paint.bid : paint.ask;
    pen.beginPath();
    pen.moveTo(x(time), y(prices[at]) - up * size);
    pen.lineTo(x(time) - size, y(prices[at]) + up * size);
    pen.lineTo(x(time) + size, y(prices[at]) + up * size);
    pen.fill();
  });
}

// The last prices stand at the right of the chart, beside where they are; two that are close make room for each other.
function drawTags({ pen, area }, tags, y) {
  pen.textAlign = "left";
  let above = Infinity;
  for (const [price, colour] of tags) {
    if (Number.isNaN(price)) continue;
    above = Math.min(y(price) + 4, above - 12);
    pen.fillStyle = colour;
    pen.fillText(priceText(price), area.right + 5, above);
  }
}

function lastOf(numbers) {
  return numbers.length ? numbers[numbers.length - 1] : NaN;
}

function drawPrice(sheet, state) {
  if (state.number < 0) return;
  const { pen, area, paint } = sheet;
  const [times, bids, asks, mids] = ["times", "bids", "asks", "mids"].map((name) => state.array(name));
  const { from, now } = span(state, times);
  const start = firstAt(times, from);
  const [low, high] = range(state, start, from);
  const x = scale(from, now, area.left, area.right);
  const y = scale(low, high, area.bottom, area.top);
  const ys = ticks(low, high, area.bottom - area.top);
  drawAxes(sheet, x, y, timeTicks(from, now, area.right - area.left), { ...ys, text: (one) => priceText(one, ys.digits) });
  inside(sheet, () => {
    drawBand(sheet, times, bids, asks, start, area.right, x, y);
    for (const [prices, colour, width] of [
      [bids, paint.bid, 1.25],
      [asks, paint.ask, 1.25],
      [mids, paint.mid, 1.5],
    ]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      steps(pen, columnsOf(times, prices, start, x), area.right, y);
    }
    shadeGaps(sheet, state, x, now);
    drawTrades(sheet, state, from, x, y);
  });
  drawPriceHead(sheet, state, { bid: lastOf(bids), mid: lastOf(mids), ask: lastOf(asks) }, y);
  drawDoubt(sheet, state.values.doubt);
}

function drawPriceHead(sheet, state, last, y) {
  const { paint } = sheet;
  const said = (name) => [`${name} ${Number.isNaN(last[name]) ? "none" : priceText(last[name])}`, paint[name]];
  drawHead(sheet, "Price", state.values.label, [said("bid"), said("mid"), said("ask"), ["$ a share, UTC"]]);
  drawTags(sheet, ["bid", "mid", "ask"].map((name) => [last[name], paint[name]]), y);
}

export default {
  render({ model, el }) {
    const fresh = canvasIn(el, HEIGHT);
    return follow(model, el, (state) => drawPrice(fresh(), state));
  },
};
