// A line for each outcome, with its name and its last value at its end; a line is blank where nothing can be trusted.

const HEIGHT = 300;
// Room for names, and the most that they have of the width.
const RIGHT = 190;
const WIDEST = 0.4;
const ROW = 13;
// How far a gap of one line reaches above and below where the line was, in pixels.
const BESIDE = 5;
// Each colour comes with each pattern, so that no two lines are the same.
const PATTERNS = [[], [6, 3], [2, 3], [6, 3, 2, 3]];

// Ask and bid of the first outcome, and over them, dashed, the same of it by the other one.
function styleOf(number, of, paint) {
  if (of === "mirror") return { colour: [paint.ask, paint.bid, paint.mid, paint.mid][number], pattern: PATTERNS[number < 2 ? 0 : 2] };
  return {
    colour: paint.lines[number % paint.lines.length],
    pattern: PATTERNS[Math.floor(number / paint.lines.length) % PATTERNS.length],
  };
}

// The changes of each line, and until when its last value holds.
function linesOf(state, now) {
  const { names, states } = state.values;
  const [times, values, numbers, holds] = ["times", "values", "lines", "holds"].map((name) => state.array(name));
  const found = names.map((name, at) => ({ name, state: states[at], times: [], values: [], until: now }));
  for (let at = 0; at < times.length; at += 1) {
    const line = found[numbers[at]];
    line.times.push(times[at]);
    line.values.push(values[at]);
  }
  found.forEach((line, at) => {
    line.last = line.values.length ? line.values[line.values.length - 1] : NaN;
    if (!holds[at] && line.times.length) line.until = line.times[line.times.length - 1];
  });
  return found;
}

// The gaps that only some lines have; one that is open ends at `to`.
function blanksOf(state, to) {
  const [lines, starts, ends] = ["blank_lines", "blank_starts", "blank_ends"].map((name) => state.array(name));
  return [...starts].map((start, at) => ({ line: lines[at], start, end: Number.isNaN(ends[at]) ? to : ends[at] }));
}

// The value that a line had before a time, or has next, if it had none.
function valueNear({ times, values }, time) {
  const row = lastAt(times, time);
  const before = values.slice(0, row + 1).findLast((value) => !Number.isNaN(value));
  return before ?? values.slice(row + 1).find((value) => !Number.isNaN(value)) ?? NaN;
}

// Of what other lines go through, only the height of a line is hatched in its own gaps.
function hatchBlanks({ pen, area, paint }, state, lines, { to }, x, y) {
  pen.strokeStyle = pen.fillStyle = paint.gap;
  for (const { line, start, end } of blanksOf(state, to)) {
    const middle = y(valueNear(lines[line], start));
    if (end <= start || Number.isNaN(middle)) continue;
    const [left, top] = [x(start), Math.min(Math.max(middle - BESIDE, area.top), area.bottom - 2 * BESIDE)];
    const box = [left, top, Math.max(x(end) - left, 1), 2 * BESIDE];
    pen.fillRect(...box);
    hatch(pen, ...box);
  }
}

function reachOfLines(lines, from, to) {
  let [low, high] = [Infinity, -Infinity];
  for (const { times, values, until } of lines) {
    for (let at = 0; at < times.length; at += 1) {
      if (times[at] > to || (at + 1 < times.length ? times[at + 1] : until) < from) continue;
      if (values[at] < low) low = values[at];
      if (values[at] > high) high = values[at];
    }
  }
  return low > high ? [0, 1] : [low, high];
}

function drawStepped(sheet, { times, values, until }, { colour, pattern }, { from, to }, x, y) {
  const columns = columnsOf(times, values, firstAt(times, from), lastAt(times, to) + 1, x);
  drawSteps(sheet, columns, { colour, width: 1.5, pattern }, x(Math.min(until, to)), y);
}

// Where names stand: beside the ends of their lines, or as near to them as there is room.
function spread(wanted, least, top, bottom) {
  const order = wanted.map((_, at) => at).sort((one, other) => wanted[other] - wanted[one]);
  const places = [...wanted];
  let below = bottom + least;
  for (const at of order) below = places[at] = Math.min(wanted[at], below - least);
  let above = top - least;
  for (const at of order.reverse()) above = places[at] = Math.max(places[at], above + least);
  return places;
}

function drawNames({ pen, area, paint, width }, lines, styles, y) {
  // In the past a line may end beside what is shown.
  const inside = (place) => Math.min(Math.max(place, area.top), area.bottom);
  const ends = lines.map(({ last }) => (Number.isNaN(last) ? area.bottom : inside(y(last))));
  const row = Math.min(ROW, (area.bottom - area.top) / lines.length);
  const places = spread(ends, row, area.top + row / 2, area.bottom - row / 2);
  lines.forEach(({ name, state, last }, at) => {
    const { colour, pattern } = styles[at];
    const price = state || valueText(last);
    pen.strokeStyle = pen.fillStyle = state || Number.isNaN(last) ? paint.quiet : colour;
    // A piece of the line, from its end to its name; of one that has no value now only what is beside its name.
    pen.lineWidth = 1.5;
    pen.setLineDash(pattern);
    pen.beginPath();
    pen.moveTo(area.right + (Number.isNaN(last) ? 10 : 2), Number.isNaN(last) ? places[at] : ends[at]);
    pen.lineTo(area.right + 10, places[at]);
    pen.lineTo(area.right + 20, places[at]);
    pen.stroke();
    pen.setLineDash([]);
    pen.textAlign = "left";
    const room = width - area.right - 28 - pen.measureText(`  ${price}`).width;
    pen.fillText(`${shortened(pen, name, room)}  ${price}`, area.right + 24, places[at] + 4);
  });
}

class OutcomesDrawing {
  margin(width) {
    return Math.min(RIGHT, Math.round(WIDEST * width));
  }

  draw(sheet, state, view) {
    const { area, paint } = sheet;
    const { label, doubt, of } = state.values;
    const { isLocal, isLogit, drawn: { from, to } } = view;
    const lines = linesOf(state, view.edge);
    const [low, high] = widened(...reachOfLines(lines, from, to), isLogit);
    const x = scale(from, to, area.left, area.right);
    const y = priceScale(low, high, area, isLogit);
    const styles = lines.map((_, at) => styleOf(at, of, paint));
    drawPriceAxes(sheet, { from, to, low, high, isLocal, isLogit }, x, y);
    inside(sheet, () => {
      hatchBlanks(sheet, state, lines, { to }, x, y);
      lines.forEach((line, at) => drawStepped(sheet, line, styles[at], { from, to }, x, y));
      shadeGaps(sheet, state, x, to);
    });
    drawNames(sheet, lines, styles, y);
    drawHead(sheet, "Outcomes", label, [[`${of === "mirror" ? "best prices" : "mids"}, ${unitText(view, view.edge)}`]]);
    drawDoubt(sheet, doubt);
    return { x, y, area };
  }

  // The value of each line at a time.
  at(state, { time, isGap }) {
    if (isGap) return [];
    const blanks = blanksOf(state, Infinity).filter(({ start, end }) => start <= time && time < end);
    const isBlank = (number) => blanks.some(({ line }) => line === number);
    return linesOf(state, Infinity).map((line, at) => [line.name, isBlank(at) ? "no data" : valueText(valueAt(line, time))]);
  }

  told(state) {
    return linesOf(state, Infinity).map(({ name, last, state: word }) => `${name} ${word || valueText(last)}`).join(", ");
  }
}

function valueAt({ times, values, until }, time) {
  const row = time > until ? -1 : lastAt(times, time);
  return row < 0 ? NaN : values[row];
}

function valueText(value) {
  return Number.isNaN(value) ? "none" : priceText(value, 3).replace(/(\.\d\d)0$/, "$1");
}

export default {
  render(shown) {
    const drawing = () => new OutcomesDrawing();
    return timeChart(shown, { title: "Outcomes", height: HEIGHT, drawing: drawing(), picture: drawing });
  },
};
