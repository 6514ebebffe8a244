// Cumulative depth: how many shares rest up to each price, on both sides of the middle.

const HEIGHT = 220;

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
  pen.globalAlpha = 0.25;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = colour;
  pen.stroke();
}

function drawDepth(sheet, state) {
  if (state.number < 0) return;
  const [bids, bidTotals, asks, askTotals] = ["bid_prices", "bid_totals", "ask_prices", "ask_totals"].map((name) =>
    state.array(name),
  );
  const prices = [...bids, ...asks];
  const [low, high] = prices.length ? [Math.min(...prices), Math.max(...prices)] : [0, 1];
  const most = Math.max(1, bidTotals[bidTotals.length - 1] || 0, askTotals[askTotals.length - 1] || 0);
  const x = scale(low, high, sheet.area.left, sheet.area.right);
  const y = scale(0, most * 1.05, sheet.area.bottom, sheet.area.top);
  const xs = ticks(low, high);
  drawAxes(sheet, x, y, xs.found, ticks(0, most * 1.05), (price) => price.toFixed(xs.digits));
  inside(sheet, () => {
    drawSide(sheet, bids, bidTotals, sheet.paint.bid, x, y);
    drawSide(sheet, asks, askTotals, sheet.paint.ask, x, y);
  });
  const { mid, spread, label, doubt, state: word } = state.values;
  drawHead(sheet, label, mid === null ? word : `mid ${mid}   spread ${spread}   ${word}`);
  drawDoubt(sheet, doubt);
}

export default {
  render({ model, el }) {
    const fresh = canvasIn(el, HEIGHT);
    return follow(model, el, (state) => drawDepth(fresh(), state));
  },
};
