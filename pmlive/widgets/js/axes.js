// What the charts have in common: a canvas that fits its place, scales, axes, shaded gaps, and the grey of doubt.

// The same for all charts over time, so that one under another has its times under those of the other.
const EDGE = { top: 30, right: 50, bottom: 34, left: 46 };
// The head of a chart that is narrower than this has two rows, of this height.
const [NARROW, HEAD_ROW] = [640, 17];
const FONT = "11px system-ui, sans-serif";
const TITLE_FONT = "600 12px system-ui, sans-serif";
// The least room between two marks of an axis of values.
const APART = 36;

// Clears a canvas, at a size in the pixels of the page, and gives what draws on it.
function penOf(canvas, width, height, ratio = window.devicePixelRatio || 1) {
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
    // A picture is drawn once, and as sharp as its own canvas, or as vectors.
    if (sheet.isPicture) {
      draw(sheet);
      return;
    }
    const whole = JSON.stringify([key, sheet.width, sheet.height, sheet.area, window.devicePixelRatio, sheet.paint]);
    if (whole !== drawn) {
      draw({ ...sheet, pen: penOf(canvas, sheet.width, sheet.height) });
      drawn = whole;
    }
    sheet.pen.drawImage(canvas, 0, 0, sheet.width, sheet.height);
  };
}

// Gives a function from values to pixels; its `back` is the way back.
function scale(from, to, start, end) {
  const span = to - from || 1;
  const there = (value) => start + ((value - from) / span) * (end - start);
  there.back = (pixel) => from + ((pixel - start) / (end - start || 1)) * span;
  return there;
}

// Prices near 0 and 1 are far apart in log-odds; those that are closer to an end than any tick of a market count as this.
const EXTREME = 1e-4;

function logit(price) {
  const inside = Math.min(Math.max(price, EXTREME), 1 - EXTREME);
  return Math.log(inside / (1 - inside));
}

// A scale of prices: by themselves, or by their log-odds.
function priceScale(low, high, area, isLogit) {
  if (!isLogit) return scale(low, high, area.bottom, area.top);
  const odds = scale(logit(low), logit(high), area.bottom, area.top);
  const there = (price) => odds(logit(price));
  there.back = (pixel) => 1 / (1 + Math.exp(-odds.back(pixel)));
  return there;
}

// Makes room around the prices to show.
function widened(low, high, isLogit) {
  if (!isLogit) {
    const margin = Math.max((high - low) * 0.08, 0.002);
    return [Math.max(0, low - margin), Math.min(1, high + margin)];
  }
  const margin = Math.max((logit(high) - logit(low)) * 0.08, 0.01);
  const back = (odds) => 1 / (1 + Math.exp(-odds));
  return [back(logit(low) - margin), back(logit(high) + margin)];
}

// Round prices for an axis of log-odds, whose distances differ: none is nearer to the one below than the room it needs.
const HALF = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4];
const ROUND = [...HALF, 0.5, ...HALF.map((price) => 1 - price).reverse()];

function oddsTicks(low, high, pixels) {
  const few = ROUND.filter((price) => price >= low && price <= high);
  const even = ticks(low, high, 2 * pixels);
  const y = priceScale(low, high, { top: 0, bottom: pixels }, true);
  const found = [];
  for (const price of few.length >= 4 ? few : even.found) {
    if (!found.length || y(found[found.length - 1]) - y(price) >= APART / 2) found.push(price);
  }
  return { found, digits: few.length >= 4 ? 0 : even.digits };
}

// Finds round values between two, so many pixels apart at least; they are steps of 1, 2 or 5 times a power of ten.
function ticks(from, to, pixels, apart = APART) {
  const rough = (to - from) / Math.max(1, Math.floor(pixels / apart)) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough * (1 - 1e-9));
  const found = [];
  // No mark is the zero that has a minus sign.
  for (let value = Math.ceil(from / step - 1e-9) * step || 0; value <= to + step * 1e-6; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

// Prices are cents, or finer where the market's ticks are.
function priceText(price, digits = 0) {
  const rounded = Math.round(price * 1e6) / 1e6;
  return rounded.toFixed(Math.max(2, digits, (String(rounded).split(".")[1] || "").length));
}

function countText(count) {
  if (count >= 1e6) return `${Math.round(count / 1e5) / 10}M`;
  return count >= 10000 ? `${Math.round(count / 100) / 10}k` : (Math.round(count * 100) / 100).toLocaleString("en");
}

// The same of the round numbers of an axis, of which none is to be longer than the next.
function roundText(count) {
  const [size, unit] = [[1e6, "M"], [1e3, "k"]].find(([least]) => count >= least) || [1, ""];
  return `${Math.round((count / size) * 1e3) / 1e3}${unit}`;
}

// The name of the chart and of the market on the left, and notes in their colours on the right, or below if there is
// little room; of notes that do not fit the first are left out.
function drawHead({ pen, width, paint }, title, label, notes) {
  const y = HEAD_ROW;
  const isNarrow = width < NARROW;
  let at = width - 4;
  pen.textAlign = "right";
  for (const [text, colour] of [...notes].reverse()) {
    const left = at - pen.measureText(text).width;
    if (left < 4) break;
    pen.fillStyle = colour || paint.quiet;
    pen.fillText(text, at, isNarrow ? y + HEAD_ROW : y);
    at = left - 12;
  }
  pen.textAlign = "left";
  pen.fillStyle = paint.text;
  pen.font = TITLE_FONT;
  pen.fillText(title, 4, y);
  const from = 4 + pen.measureText(title).width + 10;
  pen.font = FONT;
  pen.fillStyle = paint.quiet;
  pen.fillText(shortenedLabel(pen, label, (isNarrow ? width - 4 : at - 12) - from), from, y);
}

function headHeight(width) {
  return EDGE.top + (width < NARROW ? HEAD_ROW : 0);
}

function shortened(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let shown = text;
  while (shown && pen.measureText(`${shown}…`).width > width) shown = shown.slice(0, -1).trimEnd();
  return shown && `${shown}…`;
}

// The name of a market ends with its outcome, which is what tells two tokens apart: the question before it is shortened.
function shortenedLabel(pen, label, width) {
  const end = label.lastIndexOf(" - ");
  const outcome = end < 0 ? "" : label.slice(end);
  const room = width - pen.measureText(outcome).width;
  if (!outcome || room < width / 2) return shortened(pen, label, width);
  return shortened(pen, label.slice(0, end), room) + outcome;
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
    const at = Math.min(Math.max(x(value), half), sheet.width - half);
    pen.fillText(xs.text(value), at, area.bottom + 14);
    const under = xs.under ? xs.under(value) : "";
    if (under) pen.fillText(under, Math.max(at, pen.measureText(under).width / 2), area.bottom + 27);
  }
}

// The marks of an axis of prices of so many pixels.
function priceTicks(low, high, pixels, isLogit) {
  return (isLogit ? oddsTicks : ticks)(low, high, pixels);
}

// The axes of what is at a price and a time.
function drawPriceAxes(sheet, { from, to, low, high, isLocal, isLogit }, x, y) {
  const { area } = sheet;
  const ys = priceTicks(low, high, area.bottom - area.top, isLogit);
  const xs = timeTicks(from, to, area.right - area.left, isLocal);
  drawAxes(sheet, x, y, xs, { ...ys, text: (one) => priceText(one, ys.digits) });
}

// How an axis of prices and one of times are to be read.
function unitText({ isLocal, isLogit }, time) {
  return `$ a share${isLogit ? " by log-odds" : ""}, ${zoneText(time, isLocal)}`;
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

// Gaps, or what of them is after some time; one that is open ends at `to`.
function shadeGaps({ pen, area, paint }, state, x, to, since = -Infinity) {
  const starts = state.array("gap_starts");
  const ends = state.array("gap_ends");
  const over = (draw) => {
    for (let at = 0; at < starts.length; at += 1) {
      const end = Number.isNaN(ends[at]) ? to : ends[at];
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
  drawSentence({ pen, area, paint }, doubt, paint.doubt);
}

// A sentence in the middle of a chart, on a ground of its own, since lines may run through it.
function drawSentence({ pen, area, paint }, sentence, ground) {
  const texts = lines(pen, sentence, area.right - area.left - 40);
  const [middle, half] = [(area.left + area.right) / 2, 7.5 * texts.length + 3];
  const wide = Math.max(...texts.map((text) => pen.measureText(text).width)) + 12;
  pen.fillStyle = ground;
  pen.fillRect(middle - wide / 2, (area.top + area.bottom) / 2 - half, wide, 2 * half);
  pen.textAlign = "center";
  pen.fillStyle = paint.text;
  texts.forEach((text, at) => {
    pen.fillText(text, middle, (area.top + area.bottom) / 2 + 15 * (at - (texts.length - 1) / 2) + 4);
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
