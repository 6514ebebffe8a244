// What the charts have in common: a canvas that fits its place, scales, axes, shaded gaps, and the grey of doubt.

// The same for all charts over time, so that one under another has its times under those of the other.
const EDGE = { top: 30, right: 50, bottom: 22, left: 46 };
const FONT = "11px system-ui, sans-serif";
const TITLE_FONT = "600 12px system-ui, sans-serif";
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400].map((s) => s * 1000);
// The least room between two marks of an axis.
const APART = { x: 90, y: 36 };

// Makes a canvas in `el`, and gives a function that clears it and says what can be drawn on, at its size of now.
function canvasIn(el, height, right = EDGE.right) {
  const canvas = document.createElement("canvas");
  canvas.style.cssText = `display: block; width: 100%; height: ${height}px;`;
  el.append(canvas);
  return () => {
    const width = Math.max(el.clientWidth, 200);
    const area = { left: EDGE.left, top: EDGE.top, right: width - right, bottom: height - EDGE.bottom };
    return { pen: penOf(canvas, width, height), area, width, height, paint: colours(el) };
  };
}

// Clears a canvas, at a size in the pixels of the page, and gives what draws on it.
function penOf(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = FONT;
  pen.lineJoin = "round";
  return pen;
}

// Gives a function that draws what stands still: on a canvas of its own, anew only when `key` is another one.
function layer() {
  const canvas = document.createElement("canvas");
  let drawn = null;
  return (sheet, key, draw) => {
    const whole = JSON.stringify([key, sheet.width, sheet.height, window.devicePixelRatio, sheet.paint]);
    if (whole !== drawn) {
      draw({ ...sheet, pen: penOf(canvas, sheet.width, sheet.height) });
      drawn = whole;
    }
    sheet.pen.drawImage(canvas, 0, 0, sheet.width, sheet.height);
  };
}

// Gives a function that moves a span of time by whole pixels, so that between two moves nothing moves but what is new.
function stepping() {
  const held = { from: NaN, to: NaN };
  return ({ from, now }, pixels) => {
    const step = (now - from) / pixels;
    const stays = now < held.to && now > held.to - 2 * step && Math.abs(from - held.from) < 2 * step;
    if (!stays) Object.assign(held, { from, to: now + step });
    return held;
  };
}

function scale(from, to, start, end) {
  const span = to - from || 1;
  return (value) => start + ((value - from) / span) * (end - start);
}

// Finds round values between two, so many pixels apart at least; they are steps of 1, 2 or 5 times a power of ten.
function ticks(from, to, pixels, apart = APART.y) {
  const rough = (to - from) / Math.max(1, Math.floor(pixels / apart)) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough * (1 - 1e-9));
  const found = [];
  for (let value = Math.ceil(from / step - 1e-9) * step; value <= to + step * 1e-6; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

// Times are shown in UTC, as frames have them.
function timeTicks(from, to, pixels) {
  const most = Math.max(1, Math.floor(pixels / APART.x));
  const step = STEPS.find((one) => (to - from) / one <= most) || (to - from) / most;
  const found = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) found.push(time);
  const [begin, end] = step >= 86400000 ? [5, 10] : [11, step >= 60000 ? 16 : 19];
  return { found, text: (time) => new Date(time).toISOString().slice(begin, end) };
}

// Prices are cents, or finer where the market's ticks are.
function priceText(price, digits = 0) {
  const rounded = Math.round(price * 1e6) / 1e6;
  return rounded.toFixed(Math.max(2, digits, (String(rounded).split(".")[1] || "").length));
}

function countText(count) {
  return count >= 10000 ? `${Math.round(count / 100) / 10}k` : (Math.round(count * 100) / 100).toLocaleString("en");
}

// The name of the chart and of the market on the left, and notes in their colours on the right.
function drawHead({ pen, width, paint }, title, label, notes) {
  const y = 17;
  const right = width - 4;
  let at = right;
  pen.textAlign = "right";
  for (const [text, colour] of [...notes].reverse()) {
    pen.fillStyle = colour || paint.quiet;
    pen.fillText(text, at, y);
    at -= pen.measureText(text).width + 12;
  }
  pen.textAlign = "left";
  pen.fillStyle = paint.text;
  pen.font = TITLE_FONT;
  pen.fillText(title, 4, y);
  const from = 4 + pen.measureText(title).width + 10;
  pen.font = FONT;
  pen.fillStyle = paint.quiet;
  pen.fillText(shortened(pen, label, at - from - 12), from, y);
}

function shortened(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let shown = text;
  while (shown && pen.measureText(`${shown}…`).width > width) shown = shown.slice(0, -1).trimEnd();
  return shown && `${shown}…`;
}

// `xs` and `ys` are the marks of the axes, with the text of each.
function drawAxes(sheet, x, y, xs, ys) {
  const { pen, area, paint } = sheet;
  pen.lineWidth = 1;
  pen.strokeStyle = paint.grid;
  pen.fillStyle = paint.quiet;
  pen.textAlign = "right";
  for (const value of ys.found) {
    line(pen, area.left, y(value), area.right, y(value));
    pen.fillText(ys.text(value), area.left - 6, y(value) + 4);
  }
  pen.textAlign = "center";
  for (const value of xs.found) {
    const half = pen.measureText(xs.text(value)).width / 2;
    line(pen, x(value), area.top, x(value), area.bottom);
    pen.fillText(xs.text(value), Math.min(Math.max(x(value), half), sheet.width - half), area.bottom + 15);
  }
}

// The axes of what is at a price and a time.
function drawPriceAxes(sheet, { from, to, low, high }, x, y) {
  const { area } = sheet;
  const ys = ticks(low, high, area.bottom - area.top);
  const xs = timeTicks(from, to, area.right - area.left);
  drawAxes(sheet, x, y, xs, { ...ys, text: (one) => priceText(one, ys.digits) });
}

// Lines one pixel wide are sharp between pixels.
function line(pen, x0, y0, x1, y1) {
  pen.beginPath();
  pen.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
  pen.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  pen.stroke();
}

// Confines what `draw` does to the inside of the axes.
function inside({ pen, area }, draw) {
  pen.save();
  pen.beginPath();
  pen.rect(area.left, area.top, area.right - area.left, area.bottom - area.top);
  pen.clip();
  draw();
  pen.restore();
}

function gapsOf(state) {
  return ["gap_starts", "gap_ends"].map((name) => [...state.array(name)]);
}

// Gaps, or what of them is after some time.
function shadeGaps({ pen, area, paint }, state, x, now, since = -Infinity) {
  const starts = state.array("gap_starts");
  const ends = state.array("gap_ends");
  const over = (draw) => {
    for (let at = 0; at < starts.length; at += 1) {
      const end = Number.isNaN(ends[at]) ? now : ends[at];
      if (end < since) continue;
      const left = x(Math.max(starts[at], since));
      draw(left, area.top, Math.max(x(end) - left, 1), area.bottom - area.top);
    }
  };
  // Nothing is known of what was there: lines that were drawn through it go.
  over((...box) => pen.clearRect(...box));
  pen.fillStyle = paint.gap;
  over((...box) => pen.fillRect(...box));
  pen.strokeStyle = paint.gap;
  over((...box) => hatch(pen, ...box));
}

// A book that cannot be trusted greys the chart, which says why.
function drawDoubt({ pen, area, paint }, doubt) {
  if (!doubt) return;
  pen.save();
  pen.globalAlpha = 0.78;
  pen.fillStyle = paint.doubt;
  pen.fillRect(area.left, area.top, area.right - area.left, area.bottom - area.top);
  pen.restore();
  const texts = lines(pen, doubt, area.right - area.left - 40);
  pen.textAlign = "center";
  pen.fillStyle = paint.text;
  texts.forEach((text, at) => {
    const y = (area.top + area.bottom) / 2 + 15 * (at - (texts.length - 1) / 2) + 4;
    pen.fillText(text, (area.left + area.right) / 2, y);
  });
}

function lines(pen, text, width) {
  const found = [""];
  for (const word of text.split(" ")) {
    const longer = `${found[found.length - 1]} ${word}`.trim();
    if (pen.measureText(longer).width <= width || !found[found.length - 1]) found[found.length - 1] = longer;
    else found.push(word);
  }
  return found.slice(0, 6);
}

// The span of time to show: the last `window` milliseconds or everything, but no time before there was anything.
function span(state, times) {
  const now = Math.max(state.values.now, times.length ? times[times.length - 1] : 0);
  const first = Math.min(times.length ? times[0] : now, now - 1000);
  return { from: state.values.window ? Math.max(first, now - state.values.window) : first, now };
}
