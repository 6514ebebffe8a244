// Lines of values over time, of which each holds until the next.

// The first index whose price still holds at a time.
function firstAt(times, from) {
  return Math.max(0, lastAt(times, from));
}

// What prices do in one column of pixels each: where they come in, how far they go, and where they leave. However many
// prices there are, no more is drawn than can be seen. Columns without a price, where a side is empty, are left out, and
// the next one begins a new line.
function columnsOf(times, prices, start, stop, x) {
  const found = [];
  let column = null;
  let broken = true;
  for (let at = start; at < stop; at += 1) {
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

// Draws such a line up to a pixel, where its last value still holds. All parts of it stand upright or lie flat, and a
// rectangle for each column takes a tenth of the time of a stroke with thousands of corners. Dashed lines are strokes, and
// so are those of pictures, which may be edited.
function drawSteps({ pen, isPicture }, columns, { colour, width, pattern = [] }, until, y) {
  [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = [colour, colour, width];
  if (isPicture || pattern.length) strokeSteps(pen, columns, pattern, until, y);
  else fillSteps(pen, columns, width, until, y);
}

function strokeSteps(pen, columns, pattern, until, y) {
  pen.setLineDash(pattern);
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
  pen.setLineDash([]);
}

// The edges of rectangles are those of pixels of the screen: where others overlap, a line is darker, as if it had beads.
function fillSteps(pen, columns, width, until, y) {
  const { a: ratio } = pen.getTransform();
  const thick = Math.max(1, Math.round(width * ratio));
  const edge = (middle) => Math.round(middle * ratio - thick / 2);
  const fill = (left, right, top, bottom) => {
    const [x, above] = [edge(left), edge(top)];
    const [wide, high] = [edge(right) + thick - x, edge(bottom) + thick - above];
    pen.fillRect(x / ratio, above / ratio, wide / ratio, high / ratio);
  };
  let before = null;
  for (const column of columns) {
    const { pixel, low, high, begins, end } = column;
    const comes = before && !begins ? before.last : null;
    if (comes !== null && (end || pixel - before.pixel > 1)) fill(before.pixel, pixel, y(comes), y(comes));
    before = end ? null : column;
    if (end) continue;
    const [top, bottom] = comes === null ? [high, low] : [Math.max(high, comes), Math.min(low, comes)];
    fill(pixel, pixel, y(top), y(bottom));
  }
  if (before) fill(before.pixel, until, y(before.last), y(before.last));
}
