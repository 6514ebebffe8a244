// The user's own orders and fills in a chart of prices: a line at the price of an order for as long as it rests, and a
// triangle with an edge where it was filled, which points up where it buys and down where it sells.

const [NUMBER, SINCE, END, PRICE, BUYS, FAILED] = [0, 1, 2, 3, 4, 5];
const FILL = 6;
// An order that rested for an instant is as long as this, in pixels, about the middle of its time.
const SHORTEST = 12;
const DASHES = [5, 2];

// The rows of an array; one that has the number of one before replaces it.
function ownRows(state, name) {
  const numbers = state.array(name);
  const columns = state.columns(name);
  const rows = new Map();
  for (let at = 0; at < numbers.length; at += columns) rows.set(numbers[at + NUMBER], numbers.subarray(at, at + columns));
  return [...rows.values()];
}

function drawOwn({ pen, area, paint }, state, x, y) {
  pen.lineWidth = 2.5;
  for (const order of ownRows(state, "orders")) {
    const [left, right] = [x(order[SINCE]), Number.isNaN(order[END]) ? area.right : x(order[END])];
    if (right < area.left) continue;
    const missing = Math.max(0, SHORTEST - (right - left)) / 2;
    pen.strokeStyle = order[BUYS] ? paint.bid : paint.ask;
    pen.setLineDash(order[BUYS] ? [] : DASHES);
    pen.beginPath();
    pen.moveTo(left - missing, y(order[PRICE]));
    pen.lineTo(right + missing, y(order[PRICE]));
    pen.stroke();
  }
  pen.setLineDash([]);
  pen.lineWidth = 1.5;
  for (const fill of ownRows(state, "fills")) {
    const [left, height, up] = [x(fill[SINCE]), y(fill[PRICE]), fill[BUYS] ? 1 : -1];
    pen.beginPath();
    pen.moveTo(left, height - up * FILL);
    pen.lineTo(left - FILL, height + up * FILL);
    pen.lineTo(left + FILL, height + up * FILL);
    pen.closePath();
    pen.fillStyle = fill[BUYS] ? paint.bid : paint.ask;
    // One that failed to settle is empty.
    if (!fill[FAILED]) pen.fill();
    pen.strokeStyle = paint.text;
    pen.stroke();
  }
}

// How many orders rest and how much was filled, where there is anything to tell.
function ownNotes(state) {
  const orders = ownRows(state, "orders");
  const fills = ownRows(state, "fills");
  if (!orders.length && !fills.length) return [];
  return [[`own: ${orders.filter((order) => Number.isNaN(order[END])).length} resting, ${fills.length} filled`]];
}
