// What charts here and figures in Python have in common: `scales.py` has the same functions, and gives SCALES to both.

// How opaque a level is, of which the largest has `most` shares: sizes differ by powers of ten.
function opacity(size, most) {
  return SCALES.faintest + (1 - SCALES.faintest) * Math.sqrt(Math.min(1, size / most));
}

// A level reaches half a tick to both sides, but no farther than a share of the height: where there are few, and by
// log-odds near 0 and 1, ticks are so far apart that levels would be blocks.
function levelBox(price, tick, area, y) {
  const most = (SCALES.tallest * (area.bottom - area.top)) / 2;
  return [Math.max(y(price + tick / 2), y(price) - most), Math.min(y(price - tick / 2), y(price) + most)];
}

// The prices to show are those of all but the farthest levels: one at 0.99 would leave no room for the others.
function extent(slices) {
  const levels = [];
  let [most, tick] = [1, SCALES.tick];
  for (const { prices, sizes } of slices) {
    for (let at = 0; at < prices.length; at += 1) {
      if (Number.isNaN(prices[at])) continue;
      levels.push(prices[at]);
      most = Math.max(most, sizes[at]);
      const step = Math.abs(prices[at] - prices[at - 1]);
      if (step > 1e-6 && step < tick) tick = step;
    }
  }
  if (!levels.length) return { low: 0, high: 1, most, tick, levels: 0 };
  const sorted = Float64Array.from(levels).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const [low, high] = [at(SCALES.farthest) - tick, at(1 - SCALES.farthest) + tick];
  return { low, high, most, tick, levels: levels.length };
}

// Right of the axes, which shades of bids and of asks are how many shares at a price.
function drawShades({ pen, area, paint }, most) {
  const [left, width, height] = [area.right + 8, 9, Math.min(90, area.bottom - area.top - 30)];
  const top = area.top + 14;
  for (let row = 0; row < height; row += 1) {
    // The shades of equal steps of the size.
    pen.globalAlpha = opacity(1 - row / (height - 1), 1);
    [paint.bid, paint.ask].forEach((colour, at) => {
      pen.fillStyle = colour;
      pen.fillRect(left + at * (width + 1), top + row, width, 1);
    });
  }
  pen.globalAlpha = 1;
  pen.fillStyle = paint.quiet;
  pen.textAlign = "left";
  pen.fillText(countText(Math.round(most)), left - 2, top - 5);
  pen.fillText("0", left + 2 * width + 4, top + height);
  pen.fillText("shares", left - 2, top + height + 14);
}

// Slanted lines, which tell a gap from what is merely pale. They are in the same places whatever the box.
function hatch(pen, left, top, width, height) {
  const apart = 8;
  pen.save();
  pen.beginPath();
  pen.rect(left, top, width, height);
  pen.clip();
  pen.lineWidth = 1;
  pen.beginPath();
  for (let at = Math.floor(left / apart) * apart; at < left + width + height; at += apart) {
    pen.moveTo(at, top);
    pen.lineTo(at - height, top + height);
  }
  pen.stroke();
  pen.restore();
}

// A price that was chosen is a dashed line with its number, on a ground of its own, since lines may run through it.
function drawMark({ pen, area, paint }, price, y) {
  if (typeof price !== "number" || y(price) < area.top || y(price) > area.bottom) return;
  const at = Math.round(y(price)) + 0.5;
  pen.save();
  pen.setLineDash([5, 4]);
  pen.lineWidth = 1;
  pen.strokeStyle = paint.text;
  pen.beginPath();
  pen.moveTo(area.left, at);
  pen.lineTo(area.right, at);
  pen.stroke();
  pen.restore();
  const [text, below] = [`marked ${priceText(price)}`, at < area.top + 17 ? at + 13 : at - 4];
  pen.textAlign = "left";
  pen.fillStyle = paint.ground;
  pen.fillRect(area.left + 2, below - 10, pen.measureText(text).width + 6, 13);
  pen.fillStyle = paint.text;
  pen.fillText(text, area.left + 5, below);
}
