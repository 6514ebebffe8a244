// The parts of a chart in the page: its tools, a canvas with another for what follows the pointer, a box with the values
// under it, and the same in words for whoever sees none of it.

const BAR = 26;
// Seconds between two changes of the words that say what is drawn.
const WORDS_EVERY = 5;
// The text of a mark that is nearer to that of the pointer, in pixels, would be seen in part.
const COVERED = 13;
const NUMBERS = "font-variant-numeric: tabular-nums;";

function element(kind, style, attributes = {}) {
  const made = document.createElement(kind);
  made.style.cssText = style;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

class Stage {
  constructor(el, height, right = EDGE.right) {
    Object.assign(this, { el, height, right, known: 0, untold: null, wording: 0 });
    const id = `pmlive-${Math.random().toString(36).slice(2)}`;
    this.figure = element("div", "position: relative;");
    this.bar = element("div", `display: flex; align-items: center; justify-content: flex-end; gap: 3px; height: ${BAR}px; overflow: hidden;`, {
      role: "toolbar",
    });
    this.place = element("div", "position: relative;");
    this.canvas = element("canvas", "display: block; max-width: 100%; cursor: crosshair;", {
      tabindex: "0",
      role: "application",
      "aria-roledescription": "chart",
      "aria-describedby": id,
    });
    this.over = element("canvas", "position: absolute; inset: 0; max-width: 100%; height: 100%; pointer-events: none;", {
      "aria-hidden": "true",
    });
    this.box = element("div", boxStyle(), { "aria-live": "off" });
    const unseen = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);";
    this.words = element("p", unseen, { id, "aria-live": "off" });
    this.place.append(this.canvas, this.over, this.box, this.words);
    this.figure.append(this.bar, this.place);
    el.append(this.figure);
    // JupyterLab would take keys for its own, such as 0 0 for another kernel.
    this.figure.dataset.lmSuppressShortcuts = "true";
    this.figure.addEventListener("fullscreenchange", () => {
      this.figure.style.background = this.isFull ? colours(el).ground : "";
    });
    // What is hidden for a moment, as while a theme is loaded, has no width; and when it is back, nothing has changed.
    this.sized = new ResizeObserver(([{ contentRect }]) => (this.known = contentRect.width || this.known));
    this.sized.observe(el);
    this.canvas.addEventListener("focus", () => this.outline());
    this.canvas.addEventListener("blur", () => this.outline());
  }

  end() {
    this.sized.disconnect();
    clearTimeout(this.wording);
  }

  outline() {
    const isSeen = this.canvas.matches(":focus-visible");
    this.canvas.style.outline = isSeen ? "2px solid var(--jp-brand-color1, Highlight)" : "none";
    this.canvas.style.outlineOffset = "-2px";
  }

  // Whole pixels: a canvas that is stretched by a part of one is blurred.
  get width() {
    return Math.max(Math.floor(this.known || this.el.getBoundingClientRect().width), 200);
  }

  get isFull() {
    return document.fullscreenElement === this.figure;
  }

  get size() {
    if (this.isFull) return { width: this.figure.clientWidth, height: this.figure.clientHeight - BAR };
    return { width: this.width, height: this.height };
  }

  // What can be drawn on, of some size, by some pen.
  sheet(pen, { width, height }) {
    const area = { left: EDGE.left, top: headHeight(width), right: width - this.right, bottom: height - EDGE.bottom };
    return { pen, area, width, height, paint: colours(this.el) };
  }

  // The cleared canvas of the chart, or the one over it.
  fresh(canvas = this.canvas) {
    const { size } = this;
    this.canvas.style.height = `${size.height}px`;
    for (const each of [this.canvas, this.over]) each.style.width = `${size.width}px`;
    return this.sheet(penOf(canvas, size.width, size.height), size);
  }

  // Names the chart, and says in words what is drawn: not more often than each few seconds, but the last drawing always.
  word(label, tell) {
    if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
    this.untold = tell;
    if (!this.wording) this.tellWords();
  }

  tellWords() {
    this.wording = 0;
    if (!this.untold) return;
    this.words.textContent = this.untold();
    this.untold = null;
    this.wording = setTimeout(() => this.tellWords(), WORDS_EVERY * 1000);
  }

  // Shows rows of a name and a value in the box, on the side where the pointer is not; no rows hide it.
  tell(rows, { x = 0, isKey = false } = {}) {
    this.box.style.display = rows.length ? "grid" : "none";
    if (!rows.length) return;
    this.box.setAttribute("aria-live", isKey ? "polite" : "off");
    const isLeft = x > (EDGE.left + this.size.width - this.right) / 2;
    this.box.style.top = `${headHeight(this.size.width) + 5}px`;
    Object.assign(this.box.style, { left: isLeft ? `${EDGE.left + 6}px` : "auto", right: isLeft ? "auto" : `${this.right + 6}px` });
    const paint = colours(this.el);
    this.box.replaceChildren(
      ...rows.flatMap(([name, value, colour]) => {
        const cells = [element("span", `color: ${paint.quiet};`), element("span", `color: ${paint[colour] || paint.text};`)];
        [cells[0].textContent, cells[1].textContent] = [name, value];
        return cells;
      }),
    );
  }
}

function boxStyle() {
  const room = `position: absolute; max-width: 60%; padding: 3px 7px; display: none;`;
  const look = "background: var(--jp-layout-color1, Canvas); border: 1px solid var(--jp-border-color2, GrayText); opacity: 0.93;";
  const rows = "grid-template-columns: auto auto; gap: 0 9px; font: 11px/1.45 system-ui, sans-serif; pointer-events: none;";
  return `${room} ${look} ${rows} ${NUMBERS} border-radius: 2px;`;
}

// Draws the lines that cross under the pointer, with the price and the time of where they do. Of the texts at the `marks`
// of the axis of prices, and of the `dates` under that of times, those are covered that would stick out from under these.
function drawCross({ pen, area, paint }, { x, y, time, price, marks = [], dates = [] }) {
  pen.strokeStyle = paint.quiet;
  pen.setLineDash([3, 3]);
  pen.lineWidth = 1;
  if (x >= area.left && x <= area.right) line(pen, x, area.top, x, area.bottom);
  if (y >= area.top && y <= area.bottom) line(pen, area.left, y, area.right, y);
  pen.setLineDash([]);
  if (time && x >= area.left && x <= area.right) {
    pen.fillStyle = paint.ground;
    for (const [at, date] of dates) {
      const half = pen.measureText(date).width / 2;
      const middle = Math.max(at, half);
      const isNear = Math.abs(middle - x) < half + pen.measureText(time).width / 2 + 3;
      if (isNear) pen.fillRect(middle - half, area.bottom + 17, 2 * half, 14);
    }
    tag(pen, paint, time, x, area.bottom + 28, "center");
  }
  if (!price || y < area.top || y > area.bottom) return;
  pen.fillStyle = paint.ground;
  for (const mark of marks.filter((each) => Math.abs(each - y) < COVERED)) pen.fillRect(0, mark - 7, area.left - 4, 14);
  tag(pen, paint, price, area.left - 6, y + 4, "right");
}

// A text on a ground of its own; that of a time is under the marks of its axis.
function tag(pen, paint, text, x, y, align) {
  const width = pen.measureText(text).width;
  const left = align === "center" ? x - width / 2 : x - width;
  pen.textAlign = "left";
  pen.fillStyle = paint.quiet;
  pen.fillRect(left - 3, y - 11, width + 6, 15);
  pen.fillStyle = paint.ground;
  pen.fillText(text, left, y);
}
