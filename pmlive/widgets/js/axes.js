// What the charts have in common: a canvas that fits its place, scales, axes, shaded gaps, and the grey of doubt.

const EDGE = { top: 26, right: 12, bottom: 22, left: 46 };
const FONT = "11px system-ui, sans-serif";
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400].map((s) => s * 1000);

function colours(el) {
  const style = getComputedStyle(el);
  const themed = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  return {
    text: themed("--jp-ui-font-color1", "#222222"),
    quiet: themed("--jp-ui-font-color2", "#777777"),
    grid: themed("--jp-border-color2", "#e0e0e0"),
    paper: themed("--jp-layout-color0", "#ffffff"),
    bid: "#2e7d32",
    ask: "#c62828",
    mid: "#1565c0",
    gap: "rgba(255, 152, 0, 0.22)",
  };
}

// Makes a canvas in `el`, and gives a function that clears it and says what can be drawn on, at its size of now.
function canvasIn(el, height) {
  const canvas = document.createElement("canvas");
  canvas.style.cssText = `display: block; width: 100%; height: ${height}px;`;
  el.append(canvas);
  return () => {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(el.clientWidth, 200);
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = FONT;
    const area = { left: EDGE.left, top: EDGE.top, right: width - EDGE.right, bottom: height - EDGE.bottom };
    return { pen, area, width, height, paint: colours(el) };
  };
}

function scale(from, to, start, end) {
  const span = to - from || 1;
  return (value) => start + ((value - from) / span) * (end - start);
}

// Finds some 6 round values between two; also of prices, so of steps 1, 2 or 5 times a power of ten.
function ticks(from, to) {
  const rough = (to - from) / 6 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(from / step) * step; value <= to + step * 1e-6; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function timeTicks(from, to) {
  const step = STEPS.find((one) => (to - from) / one <= 8) || (to - from) / 8;
  const found = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) found.push(time);
  return found;
}

// Times are shown in UTC, as frames have them.
const clockText = (time) => new Date(time).toISOString().slice(11, 19);

function drawHead({ pen, area, width, paint }, label, note) {
  pen.textAlign = "right";
  pen.fillStyle = paint.quiet;
  pen.fillText(note, width - EDGE.right, 16);
  pen.textAlign = "left";
  pen.fillStyle = paint.text;
  pen.fillText(shortened(pen, label, width - area.left - pen.measureText(note).width - 24), area.left, 16);
}

function shortened(pen, text, width) {
  let shown = text;
  while (shown.length > 4 && pen.measureText(shown).width > width) shown = `${shown.slice(0, -4).trimEnd()}…`;
  return shown;
}

function drawAxes(sheet, x, y, xs, ys, textOf) {
  const { pen, area, paint } = sheet;
  pen.lineWidth = 1;
  pen.strokeStyle = paint.grid;
  pen.fillStyle = paint.quiet;
  pen.textAlign = "right";
  for (const value of ys.found) {
    line(pen, area.left, y(value), area.right, y(value));
    pen.fillText(value.toFixed(ys.digits), area.left - 5, y(value) + 4);
  }
  pen.textAlign = "center";
  for (const value of xs) {
    const text = textOf(value);
    line(pen, x(value), area.top, x(value), area.bottom);
    pen.fillText(text, Math.min(x(value), area.right + EDGE.right - pen.measureText(text).width / 2), area.bottom + 15);
  }
}

function line(pen, x0, y0, x1, y1) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
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

function shadeGaps({ pen, area, paint }, state, x, now) {
  const starts = state.array("gap_starts");
  const ends = state.array("gap_ends");
  pen.fillStyle = paint.gap;
  for (let at = 0; at < starts.length; at += 1) {
    const end = Number.isNaN(ends[at]) ? now : ends[at];
    const left = x(starts[at]);
    pen.fillRect(left, area.top, Math.max(x(end) - left, 1), area.bottom - area.top);
  }
}

// A book that cannot be trusted greys the chart, which says why.
function drawDoubt({ pen, area, width, paint }, doubt) {
  if (!doubt) return;
  pen.save();
  pen.globalAlpha = 0.72;
  pen.fillStyle = paint.paper;
  pen.fillRect(area.left, area.top, area.right - area.left, area.bottom - area.top);
  pen.restore();
  pen.textAlign = "center";
  pen.fillStyle = paint.text;
  lines(pen, doubt, area.right - area.left - 40).forEach((text, at) => {
    pen.fillText(text, width / 2, (area.top + area.bottom) / 2 + 15 * at);
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
