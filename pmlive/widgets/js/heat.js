// Liquidity over time: each slice of time shows how much rested at each price, darker where it is more.

const HEIGHT = 260;
const FARTHEST = 0.005;

// Slices hold until the next; one that came again, with the same time, counts as it came last.
function slicesOf(state, from, now) {
  const times = state.array("times");
  const columns = state.columns("prices");
  const [prices, sizes] = [state.array("prices"), state.array("sizes")];
  const found = [];
  for (let at = 0; at < times.length; at += 1) {
    const until = at + 1 < times.length ? times[at + 1] : now;
    if (until <= from || until === times[at]) continue;
    const [begin, end] = [at * columns, (at + 1) * columns];
    found.push({ time: times[at], until, prices: prices.subarray(begin, end), sizes: sizes.subarray(begin, end) });
  }
  return found;
}

// The prices to show are those of all but the farthest levels: one at 0.99 would leave no room for the others.
function extent(slices) {
  const levels = [];
  let [most, tick] = [1, 0.01];
  for (const { prices, sizes } of slices) {
    for (let at = 0; at < prices.length; at += 1) {
      if (Number.isNaN(prices[at])) continue;
      levels.push(prices[at]);
      most = Math.max(most, sizes[at]);
      const step = Math.abs(prices[at] - prices[at - 1]);
      if (step > 1e-6 && step < tick) tick = step;
    }
  }
  if (!levels.length) return { low: 0, high: 1, most, tick };
  const sorted = Float64Array.from(levels).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  return { low: at(FARTHEST) - tick, high: at(1 - FARTHEST) + tick, most, tick };
}

function drawSlices({ pen, paint }, slices, { most, tick }, x, y) {
  // Whole pixels: colours that let others through must not overlap.
  for (const { time, until, prices, sizes } of slices) {
    const left = Math.round(x(time));
    const width = Math.round(x(until)) - left;
    if (width < 1) continue;
    for (let at = 0; at < prices.length; at += 1) {
      if (Number.isNaN(prices[at])) continue;
      // Sizes differ by powers of ten.
      pen.globalAlpha = 0.06 + 0.94 * Math.sqrt(sizes[at] / most);
      pen.fillStyle = at < prices.length / 2 ? paint.bid : paint.ask;
      const top = Math.round(y(prices[at] + tick / 2));
      pen.fillRect(left, top, width, Math.max(1, Math.round(y(prices[at] - tick / 2)) - top));
    }
  }
  pen.globalAlpha = 1;
}

function drawHeat(sheet, state) {
  if (state.number < 0) return;
  const { area, paint } = sheet;
  const { from, now } = span(state, state.array("times"));
  const slices = slicesOf(state, from, now);
  const reach = extent(slices);
  const x = scale(from, now, area.left, area.right);
  const y = scale(reach.low, reach.high, area.bottom, area.top);
  const ys = ticks(reach.low, reach.high, area.bottom - area.top);
  drawAxes(sheet, x, y, timeTicks(from, now, area.right - area.left), { ...ys, text: (one) => priceText(one, ys.digits) });
  inside(sheet, () => {
    drawSlices(sheet, slices, reach, x, y);
    shadeGaps(sheet, state, x, now);
  });
  drawHead(sheet, "Liquidity", state.values.label, [
    ["bids", paint.bid],
    ["asks", paint.ask],
    [`darkest: ${countText(Math.round(reach.most))} shares`],
    ["$ a share, UTC"],
  ]);
  drawDoubt(sheet, state.values.doubt);
}

export default {
  render({ model, el }) {
    const fresh = canvasIn(el, HEIGHT);
    return follow(model, el, (state) => drawHeat(fresh(), state));
  },
};
