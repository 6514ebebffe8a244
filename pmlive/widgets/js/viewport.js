// What all charts over time of one dashboard show: one span of time, one pointer, one way to write times and prices.
//
// A viewport follows what is live, or stands still in the past. It moves the charts of its group together and draws them
// in one animation frame, so that the same time is at the same pixel in each, however often each is sent something.

const NARROWEST = 50;
// Times that are no farther apart are the same.
const SAME = 1e-3;
// Views tell only the second of the present, so one that is sent later may be as far behind another.
const BEHIND = 1000;
// How much is shown of everything while nothing is known.
const UNKNOWN = 60000;
const GROUPS = Symbol.for("pmlive.viewports");

class Viewport {
  constructor(ended = () => {}) {
    this.ended = ended;
    this.charts = new Set();
    this.waiting = new Set();
    this.frame = 0;
    // The last time of which anything is known, and how much before it is shown by default; 0 is everything.
    this.edge = NaN;
    this.window = 0;
    // Where the span ends if it stands still, and how long it is if somebody chose that.
    this.end = null;
    this.width = null;
    // What is drawn: a live span moves by whole pixels, so that between two moves nothing moves but what is new.
    this.drawn = { from: NaN, to: NaN };
    // The room on the right of every chart, which is what the one that needs most needs.
    this.margin = 0;
    // Where the pointer is: in which chart, and at which of its pixels.
    this.point = null;
    this.isLocal = false;
    this.isLogit = false;
  }

  join(chart) {
    this.charts.add(chart);
  }

  leave(chart) {
    this.charts.delete(chart);
    this.waiting.delete(chart);
    if (this.point && this.point.chart === chart) this.point = null;
    if (!this.charts.size) this.ended();
    this.all();
  }

  get isLive() {
    return this.end === null;
  }

  // The first time of which any chart knows anything; where none does, the window is shown as it will be.
  get first() {
    const firsts = [...this.charts].map((chart) => chart.first()).filter((time) => !Number.isNaN(time));
    return firsts.length ? Math.min(...firsts) : this.edge - (this.window || UNKNOWN);
  }

  // The span to show.
  get span() {
    if (!this.isLive) return { from: this.end - this.width, to: this.end };
    const width = this.width === null ? this.window : this.width;
    const first = Math.min(this.first, this.edge - 1000);
    return { from: width ? Math.max(first, this.edge - width) : first, to: this.edge };
  }

  // --- drawing ---

  // Has a chart drawn in the next animation frame, or all of them.
  later(chart) {
    if (chart) this.waiting.add(chart);
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  all() {
    for (const chart of this.charts) this.later(chart);
  }

  draw() {
    this.frame = 0;
    for (const chart of this.waiting) this.hear(chart);
    const drawn = this.waiting.size && this.move() ? this.charts : this.waiting;
    this.waiting = new Set();
    for (const chart of drawn) chart.paint();
    for (const chart of this.charts) chart.point();
  }

  // Takes what a chart was sent last.
  hear(chart) {
    const { number, values } = chart.state;
    if (number < 0 || number === chart.heard) return;
    const edge = chart.edge();
    // A chart begins with a picture that may be old.
    const isBack = edge < this.edge - BEHIND && chart.heard !== undefined;
    chart.heard = number;
    this.edge = Number.isNaN(this.edge) || isBack ? edge : Math.max(this.edge, edge);
    const isOther = values.window !== chart.window;
    if ((isOther && chart.window !== undefined) || this.end > this.edge) this.follow();
    // Of charts with several windows, the one that was set last counts.
    if (isOther) this.window = chart.window = values.window;
  }

  // Moves what is drawn to the span to show; tells whether that changed.
  move() {
    const { from, to } = this.span;
    const { drawn } = this;
    const margin = Math.max(...[...this.charts].map((chart) => chart.margin()));
    const isSame = margin === this.margin;
    this.margin = margin;
    const pixels = Math.max(1, ...[...this.charts].map((chart) => chart.pixels()));
    const step = this.isLive ? (to - from) / pixels : 0;
    const stays = step
      ? to < drawn.to && to > drawn.to - 2 * step && Math.abs(from - drawn.from) < 2 * step
      : from === drawn.from && to === drawn.to;
    if (!stays) this.drawn = { from, to: to + step };
    return !stays || !isSame;
  }

  // --- what people do; each tells whether it changed anything ---

  show(from, to) {
    const { first, edge, end, width, span } = this;
    const asked = Math.max(to - from, NARROWEST);
    if (asked >= edge - first) {
      Object.assign(this, { end: null, width: Infinity });
    } else {
      const until = Math.min(Math.max(to, first + asked), edge);
      Object.assign(this, { end: until < edge - SAME ? until : null, width: asked });
    }
    const isOther = Math.abs(this.span.from - span.from) > SAME || Math.abs(this.span.to - span.to) > SAME;
    if (isOther) this.all();
    // What is shown already leaves the window as it was.
    else Object.assign(this, { end, width });
    return isOther;
  }

  // Makes the span so many times as long, while one time stays where it is.
  zoom(times, about = this.span.to) {
    const { from, to } = this.span;
    const length = Math.max((to - from) * times, NARROWEST);
    const begin = about - ((about - from) / (to - from)) * length;
    return this.show(begin, begin + length);
  }

  pan(by) {
    const { from, to } = this.span;
    return this.show(from + by, to + by);
  }

  everything() {
    return this.show(-Infinity, Infinity);
  }

  // Goes back to what is live, as long as the window.
  follow() {
    Object.assign(this, { end: null, width: null });
    this.all();
  }

  pointAt(point) {
    this.point = point;
    this.later();
  }

  // Changes how times or prices are written.
  turn(name) {
    this[name] = !this[name];
    this.all();
  }
}

// The viewport of a group of charts; scripts of other charts in the page know it by the same name.
function viewportOf(group) {
  const groups = (globalThis[GROUPS] = globalThis[GROUPS] || new Map());
  if (!group) return new Viewport();
  if (!groups.has(group)) groups.set(group, new Viewport(() => groups.delete(group)));
  return groups.get(group);
}
