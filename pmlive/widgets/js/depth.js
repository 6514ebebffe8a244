// Cumulative depth: how many shares rest up to each price, on both sides of the middle.

const HEIGHT = 220;
// A book reaches from 0.01 to 0.99; what is worth a look is near its middle.
const LEVELS = 15;

function drawSide({ pen, area }, prices, totals, colour, x, y) {
  if (!prices.length) return;
  pen.beginPath();
  pen.moveTo(x(prices[0]), area.bottom);
  pen.lineTo(x(prices[0]), y(totals[0]));
  for (let at = 1; at < prices.length; at += 1) {
    pen.lineTo(x(prices[at]), y(totals[at - 1]));
    pen.lineTo(x(prices[at]), y(totals[at]));
  }
  pen.lineTo(x(prices[prices.length - 1]), area.bottom);
  pen.closePath();
  pen.globalAlpha = 0.2;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.stroke();
}

function drawDepth(sheet, state) {
  if (state.number < 0) return;
  const { area, paint } = sheet;
  const [bids, bidTotals, asks, askTotals] = ["bid_prices", "bid_totals", "ask_prices", "ask_totals"].map((name) =>
    state.array(name).subarray(0, LEVELS),
  );
  const prices = [...bids, ...asks];
  const [low, high] = prices.length ? [Math.min(...prices), Math.max(...prices)] : [0, 1];
  const most = 1.08 * Math.max(1, bidTotals[bidTotals.length - 1] || 0, askTotals[askTotals.length - 1] || 0);
  const x = scale(low, high, area.left, area.right);
  const y = scale(0, most, area.bottom, area.top);
  const [xs, ys] = [ticks(low, high, area.right - area.left, 60), ticks(0, most, area.bottom - area.top)];
  drawAxes(sheet, x, y, { ...xs, text: (price) => priceText(price, xs.digits) }, { ...ys, text: countText });
  inside(sheet, () => {
    drawSide(sheet, bids, bidTotals, paint.bid, x, y);
    drawSide(sheet, asks, askTotals, paint.ask, x, y);
  });
  const { mid, spread, label, doubt, state: word } = state.values;
  const notes = mid === null ? [] : [[`mid ${priceText(mid)}`, paint.mid], [`spread ${priceText(spread)}`]];
  drawHead(sheet, "Depth", label, [...notes, [doubt ? "" : word]]);
  drawDoubt(sheet, doubt);
}

export default {
  render({ model, el }) {
    const fresh = canvasIn(el, HEIGHT, 12);
    return follow(model, el, (state) => drawDepth(fresh(), state));
  },
};
