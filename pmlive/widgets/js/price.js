// Best bid and ask with the band between them, their middle, trades as marks, and gaps shaded.

const HEIGHT = 300;

// How far prices go. While `basis` stays, only what is new is looked at.
class Reach {
  constructor() {
    this.basis = null;
  }

  of(state, { from, to }, basis) {
    const fresh = basis !== this.basis;
    if (fresh) Object.assign(this, { basis, low: Infinity, high: -Infinity, prices: 0, trades: 0 });
    const widen = (value) => {
      if (value < this.low) this.low = value;
      if (value > this.high) this.high = value;
    };
    const [times, sold] = [state.array("times"), state.array("trade_times")];
    const start = fresh ? firstAt(times, from) : state.after("times", this.prices);
    const stop = lastAt(times, to) + 1;
    for (const name of ["bids", "asks"]) state.array(name).subarray(start, Math.max(start, stop)).forEach(widen);
    const prices = state.array("trade_prices");
    for (let at = state.after("trade_times", this.trades); at < sold.length; at += 1) {
      if (sold[at] >= from && sold[at] <= to) widen(prices[at]);
    }
    [this.prices, this.trades] = [state.came("times"), state.came("trade_times")];
    return this.low > this.high ? [0, 1] : [this.low, this.high];
  }
}

// The band is between the last bid and the last ask of each column, where there are both.
function drawBand({ pen, paint }, times, bids, asks, { start, stop, until }, x, y) {
  pen.fillStyle = paint.band;
  let from = null;
  for (let at = start; at <= stop; at += 1) {
    const pixel = at < stop ? Math.round(x(times[at])) : until;
    if (from !== null && pixel > from) {
      const [bid, ask] = [bids[at - 1], asks[at - 1]];
      if (bid <= ask) pen.fillRect(from, y(ask), pixel - from, y(bid) - y(ask));
    }
    from = pixel;
  }
}

// Where trades are seen: of those of one side at one place, of two pixels, only the largest, since it covers the others.
function tradeMarks(state, isShown, x, y) {
  const names = ["trade_times", "trade_prices", "trade_sizes", "trade_buys"];
  const [times, prices, sizes, buys] = names.map((name) => state.array(name));
  const marks = new Map();
  for (let at = 0; at < times.length; at += 1) {
    if (!isShown(times[at], at)) continue;
    const mark = { across: x(times[at]), along: y(prices[at]), buy: buys[at], size: sizes[at] };
    const place = `${mark.across >> 1} ${mark.along >> 1} ${mark.buy}`;
    if (!(marks.get(place)?.size > mark.size)) marks.set(place, mark);
  }
  return marks.values();
}

// A triangle that points up where the taker bought, and down where he sold; larger trades are larger.
function drawTrades({ pen, paint }, state, isShown, x, y) {
  for (const { across, along, buy, size } of tradeMarks(state, isShown, x, y)) {
    const reach = 2.5 + Math.min(4, Math.log10(1 + size));
    const up = buy ? reach : -reach;
    pen.fillStyle = buy ? paint.bid : paint.ask;
    pen.beginPath();
    pen.moveTo(across, along - up);
    pen.lineTo(across - reach, along + up);
    pen.lineTo(across + reach, along + up);
    pen.fill();
  }
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

// Rows from `start` to before `stop`, of which the last holds until a pixel.
function drawLines(sheet, state, { start, stop, until }, x, y) {
  const { paint } = sheet;
  const [times, bids, asks, mids] = ["times", "bids", "asks", "mids"].map((name) => state.array(name));
  drawBand(sheet, times, bids, asks, { start, stop, until }, x, y);
  for (const [prices, colour, width] of [
    [bids, paint.bid, 1.25],
    [asks, paint.ask, 1.25],
    [mids, paint.mid, 1.5],
  ]) {
    drawSteps(sheet, columnsOf(times, prices, start, stop, x), { colour, width }, until, y);
  }
}

// An hour is drawn once, and then what is new, until all of it moves by a pixel or the prices go farther.
class Price {
  constructor() {
    this.reach = new Reach();
    this.under = layer();
    this.drawn = null;
  }

  draw(sheet, state, view) {
    const { area } = sheet;
    const times = state.array("times");
    const { isLocal, isLogit, drawn: { from, to } } = view;
    const reach = this.reach.of(state, { from, to }, `${[from, to, state.wholes]}`);
    const [low, high] = widened(...reach, isLogit);
    const x = scale(from, to, area.left, area.right);
    const y = priceScale(low, high, area, isLogit);
    const seen = { from, to, low, high, isLocal, isLogit };
    const stop = lastAt(times, to) + 1;
    this.under(sheet, [seen, state.wholes, gapsOf(state)], (still) => {
      // The last price holds: from there on all is drawn again and again.
      const since = stop ? times[stop - 1] : from;
      this.drawn = { since, prices: state.came("times") - (times.length - stop), trades: state.came("trade_times") };
      drawPriceAxes(still, seen, x, y);
      inside(still, () => {
        drawLines(still, state, { start: firstAt(times, from), stop, until: x(since) }, x, y);
        shadeGaps(still, state, x, to);
        drawTrades(still, state, (time) => time >= from && time < since, x, y);
      });
    });
    inside(sheet, () => {
      const { since, prices, trades } = this.drawn;
      const late = state.after("trade_times", trades);
      const start = Math.max(0, state.after("times", prices) - 1);
      drawLines(sheet, state, { start, stop, until: area.right }, x, y);
      shadeGaps(sheet, state, x, to, since);
      drawTrades(sheet, state, (time, at) => time <= to && (time >= since || (time >= from && at >= late)), x, y);
      drawOwn(sheet, state, x, y);
    });
    drawPriceHead(sheet, state, view, y);
    drawMark(sheet, state.values.marked, y);
    drawDoubt(sheet, state.values.doubt);
    return { x, y };
  }

  // What there is at a time: prices, and trades that are near.
  at(state, { time, near, isGap }) {
    const row = lastAt(state.array("times"), time);
    const [bid, ask, mid] = ["bids", "asks", "mids"].map((name) => (row < 0 ? NaN : state.array(name)[row]));
    const text = (price) => (Number.isNaN(price) ? "none" : priceText(price));
    const spread = Number.isNaN(ask - bid) ? [] : [["spread", priceText(ask - bid)]];
    const prices = [["ask", text(ask), "ask"], ["mid", text(mid), "mid"], ["bid", text(bid), "bid"], ...spread];
    return [...(isGap || row < 0 ? [] : prices), ...tradesNear(state, time, near)];
  }

  told(state) {
    if (state.values.doubt) return "No price of now";
    const said = ["bids", "asks", "mids"].map((name) => lastOf(state.array(name)));
    const [bid, ask, mid] = said.map((price) => (Number.isNaN(price) ? "none" : priceText(price)));
    const spread = Number.isNaN(said[1] - said[0]) ? "none" : priceText(said[1] - said[0]);
    return `Bid ${bid}, ask ${ask}, mid ${mid}, spread ${spread}`;
  }
}

// The trades under the pointer, the nearest first; of many, how many more there are.
const TRADES_TOLD = 3;

function tradesNear(state, time, near) {
  const [times, prices, sizes, buys] = ["trade_times", "trade_prices", "trade_sizes", "trade_buys"].map((name) => state.array(name));
  const found = [];
  for (let at = lastAt(times, time + near); at >= 0 && times[at] >= time - near; at -= 1) found.push(at);
  found.sort((one, other) => Math.abs(times[one] - time) - Math.abs(times[other] - time));
  const rows = found.slice(0, TRADES_TOLD).map((at) => {
    const [name, colour] = buys[at] ? ["buy", "bid"] : ["sell", "ask"];
    return [name, `${countText(sizes[at])} at ${priceText(prices[at])}`, colour];
  });
  return found.length > TRADES_TOLD ? [...rows, ["", `and ${found.length - TRADES_TOLD} more trades`]] : rows;
}

// The last prices, whatever is shown; beside the axis they stand where the axis reaches to them. While the book cannot be
// trusted there are none.
function drawPriceHead(sheet, state, view, y) {
  const { paint } = sheet;
  const { label, doubt } = state.values;
  const last = { bid: lastOf(state.array("bids")), mid: lastOf(state.array("mids")), ask: lastOf(state.array("asks")) };
  const missing = state.came("times") ? "none" : "";
  const said = (name) => [Number.isNaN(last[name]) ? missing && `no ${name}` : `${name} ${priceText(last[name])}`, paint[name]];
  const prices = doubt ? [] : [said("bid"), said("mid"), said("ask")];
  drawHead(sheet, "Price", label, [...ownNotes(state), ...prices, [unitText(view, view.edge)]]);
  if (view.isLive && !doubt) drawTags(sheet, ["bid", "mid", "ask"].map((name) => [last[name], paint[name]]), y);
}

export default {
  render(shown) {
    return timeChart(shown, { title: "Price", height: HEIGHT, drawing: new Price(), picture: () => new Price() });
  },
};
