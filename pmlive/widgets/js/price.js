// Best bid and ask with the band between them, their middle, trades as marks, and gaps shaded.

const HEIGHT = 260;

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

// Each price holds until the next; where there is none the line is broken.
function steps(pen, times, prices, start, now, x, y) {
  pen.beginPath();
  let broken = true;
  for (let at = start; at < times.length; at += 1) {
    if (Number.isNaN(prices[at])) {
      broken = true;
      continue;
    }
    const until = at + 1 < times.length ? times[at + 1] : now;
    if (broken) pen.moveTo(x(times[at]), y(prices[at]));
    else pen.lineTo(x(times[at]), y(prices[at]));
    pen.lineTo(x(until), y(prices[at]));
    broken = false;
  }
  pen.stroke();
}

function drawBand(sheet, state, times, start, now, x, y) {
  const [bids, asks] = [state.array("bids"), state.array("asks")];
  sheet.pen.fillStyle = "rgba(21, 101, 192, 0.12)";
  for (let at = start; at < times.length; at += 1) {
    if (Number.isNaN(bids[at]) || Number.isNaN(asks[at])) continue;
    const until = at + 1 < times.length ? times[at + 1] : now;
    sheet.pen.fillRect(x(times[at]), y(asks[at]), x(until) - x(times[at]), y(bids[at]) - y(asks[at]));
  }
}

function drawLines(sheet, state, times, start, now, x, y) {
  for (const [name, colour, width] of [
    ["bids", sheet.paint.bid, 1],
    ["asks", sheet.paint.ask, 1],
    ["mids", sheet.paint.mid, 1.5],
  ]) {
    sheet.pen.strokeStyle = colour;
    sheet.pen.lineWidth = width;
    steps(sheet.pen, times, state.array(name), start, now, x, y);
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

function lastOf(numbers) {
  const last = numbers[numbers.length - 1];
  return numbers.length && !Number.isNaN(last) ? String(Math.round(last * 1e6) / 1e6) : "none";
}

function drawPrice(sheet, state) {
  if (state.number < 0) return;
  const times = state.array("times");
  const { from, now } = span(state, times);
  const start = firstAt(times, from);
  const [low, high] = range(state, start, from);
  const x = scale(from, now, sheet.area.left, sheet.area.right);
  const y = scale(low, high, sheet.area.bottom, sheet.area.top);
  drawAxes(sheet, x, y, timeTicks(from, now), ticks(low, high), clockText);
  inside(sheet, () => {
    drawBand(sheet, state, times, start, now, x, y);
    drawLines(sheet, state, times, start, now, x, y);
    drawTrades(sheet, state, from, x, y);
    shadeGaps(sheet, state, x, now);
  });
  drawHead(sheet, state.values.label, `bid ${lastOf(state.array("bids"))}   ask ${lastOf(state.array("asks"))}   UTC`);
  drawDoubt(sheet, state.values.doubt);
}

export default {
  render({ model, el }) {
    const fresh = canvasIn(el, HEIGHT);
    return follow(model, el, (state) => drawPrice(fresh(), state));
  },
};
