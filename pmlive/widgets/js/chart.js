// A chart over time: what it draws follows its widget, its group's viewport, and the pointer.

// How near to the pointer a mark is under it, in pixels.
const NEAR = 4;

// Has a chart drawn by `drawing`, which says with `draw` what its scales are, with `at` what there is at a time and a
// price, with `told` what it shows in words, and with `times`, if it has no array of this name, which times it has; with
// `margin` how much room it needs on the right, if more than others.
function timeChart({ model, el }, { title, height, drawing, picture }) {
  const stage = new Stage(el, height);
  const view = viewportOf(model.get("group"));
  const chart = new TimeChart(stage, view, title, drawing);
  const label = () => chart.state.values.label || "";
  chart.tools = new Toolbar(stage, [
    { text: "log-odds", title: "space prices by their log-odds", act: () => view.turn("isLogit"), isOn: () => view.isLogit },
    { text: "local", title: "show times of this computer's zone instead of UTC", act: () => view.turn("isLocal"), isOn: () => view.isLocal },
    ...pictureTools(
      stage,
      (sheet) => picture().draw(sheet, chart.state, view),
      () => fileName(title, label(), view.span.to),
      (problem) => chart.warn(problem),
    ),
    { text: "live", title: `back to live. ${MOUSE}. With the chart in focus, ${KEYS}`, act: () => view.follow(), isOn: () => view.isLive },
  ]);
  const end = follow(model, el, () => chart.draw(), (paced) => chart.begin(paced));
  const endPointing = pointing(stage, chart, view);
  // For whoever looks into the page.
  el.viewed = chart;
  return () => {
    endPointing();
    end();
    stage.end();
  };
}

class TimeChart {
  constructor(stage, view, title, drawing) {
    Object.assign(this, { stage, view, title, drawing });
    // Where times and prices are, once it is drawn, and the number of the last message that the viewport knows.
    this.scales = null;
    this.heard = undefined;
    this.needed = 0;
    this.problem = "";
    this.isPointed = false;
  }

  begin({ paint, state, say }) {
    Object.assign(this, { paint, state, say });
    this.view.join(this);
    const leave = () => {
      if (this.needed) say({ kind: "reach", seconds: 0 });
      this.view.leave(this);
    };
    return { later: () => this.view.later(this), end: leave };
  }

  warn(problem) {
    this.problem = problem;
    this.view.later(this);
  }

  // --- what the viewport asks ---

  // The times of what it has, in order.
  get times() {
    return this.drawing.times ? this.drawing.times(this.state) : this.state.array("times");
  }

  first() {
    const { times } = this;
    return times.length ? times[0] : NaN;
  }

  edge() {
    const { times } = this;
    return Math.max(this.state.values.now, times.length ? times[times.length - 1] : 0);
  }

  pixels() {
    return this.stage.size.width - EDGE.left - this.view.margin;
  }

  // How much room it needs beside its area, on the right.
  margin() {
    return this.drawing.margin ? this.drawing.margin(this.stage.size.width) : EDGE.right;
  }

  draw() {
    const { stage, state, view, drawing } = this;
    stage.right = view.margin;
    const sheet = stage.fresh();
    const paused = `paused at ${clockText(view.span.to || 0, view.isLocal, 0)}; double-click for live`;
    this.tools.refresh(this.problem || (view.isLive ? "" : paused));
    if (state.number < 0) return;
    this.scales = { area: sheet.area, ...drawing.draw(sheet, state, view) };
    this.need();
    this.word();
  }

  // Asks the kernel for more of the past, if what it shows of it by itself is too short.
  need() {
    const { window } = this.state.values;
    const { view } = this;
    const needed = reachOf(this.drawing, window, view.edge - view.drawn.from);
    if (needed === this.needed) return;
    this.needed = needed;
    this.say({ kind: "reach", seconds: needed / 1000 });
  }

  word() {
    const { stage, state, view, title, drawing } = this;
    const label = `${title} of ${state.values.label || "nothing yet"}`;
    const told = () => `${drawing.told(state)}. ${gapWords(state, view)} ${state.values.doubt || "Its book is trusted"}`;
    stage.word(label, () => `${label}. ${told()}. ${MOUSE}; ${KEYS}.`);
  }

  // Draws the crosshair where the pointer is, in whichever chart of the group.
  point() {
    const { stage, state, view, scales, drawing } = this;
    const there = view.point && view.point.chart.scales;
    const isIn = there && scales && view.point.px >= there.area.left - 1 && view.point.px <= there.area.right + 1;
    if (!isIn) {
      if (this.isPointed) stage.fresh(stage.over);
      if (this.isPointed) stage.tell([]);
      this.isPointed = false;
      return;
    }
    this.isPointed = true;
    const { px, py, isKey } = view.point;
    const time = Math.min(there.x.back(px), view.span.to);
    // Under prices there may be something else.
    const range = there.prices || there.area;
    const isPrice = py >= range.top && py <= range.bottom;
    const price = isPrice ? there.y.back(py) : NaN;
    const [x, y] = [scales.x(time), scales.y(price)];
    const [clock, priced] = [clockText(time, view.isLocal), isPrice ? priceText(Math.round(price * 1000) / 1000, 3) : ""];
    const cross = { x, y, time: clock, price: priced, marks: marksOf(scales, view), dates: datesOf(scales, view) };
    drawCross({ ...stage.fresh(stage.over), area: scales.area }, cross);
    const near = Math.abs(scales.x.back(NEAR) - scales.x.back(0));
    const rows = [["time", `${dateText(time, view.isLocal)} ${clock} ${zoneText(time, view.isLocal)}`]];
    const gap = gapAt(state, time);
    rows.push(...(gap ? [["no data", gapText(gap, view)]] : []), ...drawing.at(state, { time, price, near, isGap: !!gap }));
    if (state.values.doubt) rows.push(["now", state.values.doubt]);
    stage.tell(rows, { x, isKey });
  }
}

// Where the marks of an axis of prices are.
function marksOf({ area, prices = area, y }, { isLogit }) {
  return priceTicks(y.back(prices.bottom), y.back(prices.top), prices.bottom - prices.top, isLogit).found.map(y);
}

// Where dates are under an axis of times, and what they are.
function datesOf({ area, x }, { isLocal }) {
  const { found, under } = timeTicks(x.back(area.left), x.back(area.right), area.right - area.left, isLocal);
  return under ? found.filter(under).map((time) => [x(time), under(time)]) : [];
}

// How much of the past to ask for, of a few lengths so that it is asked for seldom; 0 is what is sent anyway.
const REACHES = [60, 300, 900, 3600, 21600, 86400, 604800].map((seconds) => seconds * 1000);

function reachOf(drawing, window, length) {
  if (!drawing.isSliced || !window || length <= window * 1.01) return 0;
  return REACHES.find((one) => one >= length) || length;
}

// The index of the last time that is no later; -1 before the first.
function lastAt(times, time) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// --- gaps ---

function gapAt(state, time) {
  const [starts, ends] = [state.array("gap_starts"), state.array("gap_ends")];
  for (let at = starts.length - 1; at >= 0; at -= 1) {
    if (starts[at] <= time && (Number.isNaN(ends[at]) || time <= ends[at])) return gapOf(state, at);
  }
  return null;
}

function gapOf(state, at) {
  const [from, to] = [state.array("gap_starts")[at], state.array("gap_ends")[at]];
  return { from, to, cause: (state.values.gap_causes || [])[at] || "gap" };
}

function gapText({ from, to, cause }, { isLocal }) {
  return `${cause}, ${clockText(from, isLocal)} to ${Number.isNaN(to) ? "now" : clockText(to, isLocal)}`;
}

function gapWords(state, view) {
  const starts = state.array("gap_starts");
  if (!starts.length) return "No gaps.";
  const last = gapText(gapOf(state, starts.length - 1), view);
  return starts.length === 1 ? `One gap: ${last}.` : `${starts.length} gaps, the last: ${last}.`;
}
