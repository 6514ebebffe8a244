// Liquidity over time: each slice of time shows how much rested at each price, darker where it is more.

const HEIGHT = 260;

// Slices hold until the next; one that came again, with the same time, counts as it came last. `start` is the first row.
function slicesOf(state, start, from, to) {
  const times = state.array("times");
  const columns = state.columns("prices");
  const [prices, sizes] = [state.array("prices"), state.array("sizes")];
  const found = [];
  for (let at = start; at < times.length; at += 1) {
    const until = at + 1 < times.length ? times[at + 1] : to;
    if (times[at] > to) break;
    if (until <= from || until === times[at]) continue;
    const [begin, end] = [at * columns, (at + 1) * columns];
    found.push({ time: times[at], until, prices: prices.subarray(begin, end), sizes: sizes.subarray(begin, end) });
  }
  return found;
}

// Most levels are the same in many slices on end: what has the same size is one rectangle. All are whole pixels, since
// colours that let others through must not overlap.
function drawSlices(sheet, slices, { most, tick }, x, y) {
  const runs = new Map();
  for (const { time, until, prices, sizes } of slices) {
    const [left, right] = [Math.round(x(time)), Math.round(x(until))];
    if (right <= left) continue;
    for (let at = 0; at < prices.length; at += 1) {
      const price = prices[at];
      if (Number.isNaN(price)) continue;
      const [size, isBid] = [sizes[at], at < prices.length / 2];
      const run = runs.get(price);
      if (run && run.right === left && run.size === size && run.isBid === isBid) {
        run.right = right;
      } else {
        if (run) drawRun(sheet, run, most, tick, y);
        runs.set(price, { price, size, isBid, left, right });
      }
    }
  }
  for (const run of runs.values()) drawRun(sheet, run, most, tick, y);
  sheet.pen.globalAlpha = 1;
}

function drawRun({ pen, area, paint }, { price, size, isBid, left, right }, most, tick, y) {
  pen.globalAlpha = opacity(size, most);
  pen.fillStyle = isBid ? paint.bid : paint.ask;
  const [top, bottom] = levelBox(price, tick, area, y).map(Math.round);
  pen.fillRect(left, top, right - left, Math.max(1, bottom - top));
}

// All but the slice that is being filled is drawn once, until another slice begins or all of it moves by a pixel.
class Heat {
  constructor() {
    this.under = layer();
    this.basis = null;
    this.isSliced = true;
  }

  draw(sheet, state, view) {
    const { area } = sheet;
    const times = state.array("times");
    const { isLocal, isLogit, edge, drawn: { from, to } } = view;
    const last = times.length ? times[times.length - 1] : from;
    const basis = `${[from, to, last, state.wholes, isLogit, isLocal]}`;
    if (basis !== this.basis) {
      this.settled = slicesOf(state, 0, from, to);
      this.reach = extent(this.settled);
      if (last <= to) this.settled.pop();
      this.basis = basis;
    }
    const { low, high } = this.shown(isLogit);
    const x = scale(from, to, area.left, area.right);
    const y = priceScale(low, high, area, isLogit);
    this.under(sheet, [basis, gapsOf(state)], (still) => {
      drawPriceAxes(still, { from, to, low, high, isLocal, isLogit }, x, y);
      inside(still, () => {
        drawSlices(still, this.settled, this.reach, x, y);
        shadeGaps(still, state, x, Math.min(last, edge));
      });
    });
    inside(sheet, () => {
      drawSlices(sheet, slicesOf(state, Math.max(0, times.length - 1), from, to), this.reach, x, y);
      shadeGaps(sheet, state, x, to, last);
    });
    this.head(sheet, state, view, y);
    drawDoubt(sheet, state.values.doubt);
    return { x, y };
  }

  // No price is 0 or 1, which are endlessly far away by log-odds.
  shown(isLogit) {
    const { low, high, tick } = this.reach;
    return isLogit ? { low: Math.max(low, tick / 2), high: Math.min(high, 1 - tick / 2) } : { low, high };
  }

  head(sheet, state, view, y) {
    const { paint } = sheet;
    drawHead(sheet, "Liquidity", state.values.label, [
      ["bids", paint.bid],
      ["asks", paint.ask],
      [unitText(view, view.edge)],
    ]);
    if (this.reach.levels) drawShades(sheet, this.reach.most);
    if (this.reach.levels) drawMark(sheet, state.values.marked, y);
  }

  // What rested at a time: at the price under the pointer, and at the best ones.
  at(state, { time, price, isGap }) {
    const row = lastAt(state.array("times"), time);
    if (isGap || row < 0) return [];
    const { asks, bids } = ladderOf(state, row);
    const text = (level) => (level ? `${countText(level.size)} at ${priceText(level.price)}` : "none");
    const best = [["best ask", text(asks[0]), "ask"], ["best bid", text(bids[0]), "bid"]];
    if (Number.isNaN(price)) return best;
    const under = [...bids, ...asks].find((level) => Math.abs(level.price - price) <= this.reach.tick / 2);
    const here = under ? [`${priceText(under.price)} ${under.side}`, `${countText(under.size)} shares`, under.side] : ["here", "none"];
    return [here, ...best];
  }

  told(state) {
    const rows = state.array("times").length;
    if (!rows) return "Nothing rested yet";
    const { asks, bids } = ladderOf(state, rows - 1);
    const text = (level) => (level ? `${countText(level.size)} shares at ${priceText(level.price)}` : "none");
    return `Best bid ${text(bids[0])}, best ask ${text(asks[0])}, most at one price ${countText(Math.round(this.reach.most))} shares`;
  }
}

// The levels of a slice, the best of each side first.
function ladderOf(state, row) {
  const columns = state.columns("prices");
  const begin = row * columns;
  const [prices, sizes] = ["prices", "sizes"].map((name) => state.array(name).subarray(begin, begin + columns));
  const levels = [...prices].map((price, at) => ({ price, size: sizes[at], side: at < columns / 2 ? "bid" : "ask" }));
  const side = (name) => levels.filter((level) => level.side === name && !Number.isNaN(level.price));
  return { bids: side("bid"), asks: side("ask") };
}

export default {
  render(shown) {
    return timeChart(shown, { title: "Liquidity", height: HEIGHT, drawing: new Heat(), picture: () => new Heat() });
  },
};
