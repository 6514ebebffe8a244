// Liquidity over time: each slice of time shows how much rested at each price, darker where it is more.

const HEIGHT = 260;

// Slices hold until the next; one that came again, with the same time, counts as it came last. `start` is the first row.
function slicesOf(state, start, from, now) {
  const times = state.array("times");
  const columns = state.columns("prices");
  const [prices, sizes] = [state.array("prices"), state.array("sizes")];
  const found = [];
  for (let at = start; at < times.length; at += 1) {
    const until = at + 1 < times.length ? times[at + 1] : now;
    if (until <= from || until === times[at]) continue;
    const [begin, end] = [at * columns, (at + 1) * columns];
    found.push({ time: times[at], until, prices: prices.subarray(begin, end), sizes: sizes.subarray(begin, end) });
  }
  return found;
}

function drawSlices({ pen, paint }, slices, { most, tick }, x, y) {
  // Whole pixels: colours that let others through must not overlap.
  for (const { time, until, prices, sizes } of slices) {
    const left = Math.round(x(time));
    const width = Math.round(x(until)) - left;
    if (width < 1) continue;
    for (let at = 0; at < prices.length; at += 1) {
      if (Number.isNaN(prices[at])) continue;
      pen.globalAlpha = opacity(sizes[at], most);
      pen.fillStyle = at < prices.length / 2 ? paint.bid : paint.ask;
      const top = Math.round(y(prices[at] + tick / 2));
      pen.fillRect(left, top, width, Math.max(1, Math.round(y(prices[at] - tick / 2)) - top));
    }
  }
  pen.globalAlpha = 1;
}

// All but the slice that is being filled is drawn once, until another slice begins or all of it moves by a pixel.
class Heat {
  constructor() {
    this.steady = stepping();
    this.under = layer();
    this.basis = null;
  }

  draw(sheet, state) {
    if (state.number < 0) return;
    const { area } = sheet;
    const times = state.array("times");
    const seen = span(state, times);
    const { from, to } = this.steady(seen, area.right - area.left);
    const last = times.length ? times[times.length - 1] : from;
    const basis = `${[from, to, last, state.wholes]}`;
    if (basis !== this.basis) {
      this.settled = slicesOf(state, 0, from, to);
      this.reach = extent(this.settled);
      this.settled.pop();
      this.basis = basis;
    }
    const { low, high } = this.reach;
    const x = scale(from, to, area.left, area.right);
    const y = scale(low, high, area.bottom, area.top);
    this.under(sheet, [basis, gapsOf(state)], (still) => {
      drawPriceAxes(still, { from, to, low, high }, x, y);
      inside(still, () => {
        drawSlices(still, this.settled, this.reach, x, y);
        shadeGaps(still, state, x, Math.min(last, seen.now));
      });
    });
    inside(sheet, () => {
      drawSlices(sheet, slicesOf(state, Math.max(0, times.length - 1), from, to), this.reach, x, y);
      shadeGaps(sheet, state, x, seen.now, last);
    });
    this.head(sheet, state, y);
    drawDoubt(sheet, state.values.doubt);
  }

  head(sheet, state, y) {
    const { paint } = sheet;
    drawHead(sheet, "Liquidity", state.values.label, [
      ["bids", paint.bid],
      ["asks", paint.ask],
      ["$ a share, UTC"],
    ]);
    if (this.reach.levels) drawShades(sheet, this.reach.most);
    if (this.reach.levels) drawMark(sheet, state.values.marked, y);
  }
}

export default {
  render({ model, el }) {
    const fresh = canvasIn(el, HEIGHT);
    const heat = new Heat();
    return follow(model, el, (state) => heat.draw(fresh(), state));
  },
};
