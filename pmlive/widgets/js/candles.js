// What a price did in each interval, as candles, and under them how many shares were traded, as bars.

const HEIGHT = 300;
// The columns of a candle, as the kernel sends them.
const [START, OPEN, HIGH, LOW, CLOSE, VOLUME, TOUCHED] = [0, 1, 2, 3, 4, 5, 6];
const COLUMNS = 7;
// The share of an interval that a candle is wide, and that of the height that volumes have.
const WIDE = 0.7;
const VOLUMES = 0.22;
const OVER_VOLUMES = 10;

// The candles that are over and the one that is forming, as far as any of them is shown.
function candlesOf(state, from) {
  const found = [];
  for (const name of ["candles", "forming"]) {
    const numbers = state.array(name);
    for (let at = 0; at < numbers.length; at += COLUMNS) {
      if (numbers[at + START] + state.values.length > from) found.push(numbers.subarray(at, at + COLUMNS));
    }
  }
  return found;
}

// The candle whose close is the price of now: a mid that nobody quotes any more is none, the last trade is always one.
function presentCandle(state) {
  const all = state.values.of === "mid" ? state.array("forming") : candlesOf(state, -Infinity).pop();
  return all && all.length ? all.subarray(-COLUMNS) : undefined;
}

function candleReach(candles, isLogit) {
  let [low, high, most] = [Infinity, -Infinity, 0];
  for (const candle of candles) {
    if (candle[LOW] < low) low = candle[LOW];
    if (candle[HIGH] > high) high = candle[HIGH];
    most = Math.max(most, candle[VOLUME]);
  }
  if (low > high) return { low: 0, high: 1, most };
  [low, high] = widened(low, high, isLogit);
  return { low, high, most };
}

// Hollow where the price rose or stayed, filled where it fell, grey and hatched where a gap touches it.
function kindOf(candle, paint) {
  if (candle[TOUCHED]) return { colour: paint.quiet, filled: false, hatched: true };
  const fell = candle[CLOSE] < candle[OPEN];
  return { colour: fell ? paint.ask : paint.bid, filled: fell, hatched: false };
}

function drawBox(pen, { colour, filled, hatched }, left, top, width, height) {
  const [x0, y0, x1, y1] = [left, top, left + width, top + height].map(Math.round);
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = 1;
  if (filled) pen.fillRect(x0, y0, Math.max(1, x1 - x0), Math.max(1, y1 - y0));
  // Whole pixels: a box of one pixel is a line.
  else {
    pen.beginPath();
    pen.rect(x0 + 0.5, y0 + 0.5, Math.max(0, x1 - x0 - 1), Math.max(0, y1 - y0 - 1));
    pen.stroke();
  }
  if (!hatched) return;
  pen.save();
  pen.beginPath();
  pen.rect(x0, y0, x1 - x0, y1 - y0);
  pen.clip();
  pen.beginPath();
  for (let x = x0 - (y1 - y0); x < x1; x += 4) {
    pen.moveTo(x, y1);
    pen.lineTo(x + y1 - y0, y0);
  }
  pen.stroke();
  pen.restore();
}

function drawCandle(pen, candle, kind, left, width, y) {
  if (Number.isNaN(candle[OPEN])) return;
  const top = y(Math.max(candle[OPEN], candle[CLOSE]));
  const bottom = y(Math.min(candle[OPEN], candle[CLOSE]));
  pen.strokeStyle = kind.colour;
  pen.lineWidth = 1;
  // The line to the highest and to the lowest price does not go through a hollow body.
  for (const [one, other] of [
    [y(candle[HIGH]), top],
    [bottom, y(candle[LOW])],
  ]) {
    if (other - one >= 1) line(pen, left + (width - 1) / 2, one, left + (width - 1) / 2, other - 1);
  }
  drawBox(pen, kind, left, top, width, bottom - top);
}

// The place of prices and that of volumes, one above the other.
function placesOf(sheet) {
  const { area } = sheet;
  const split = area.bottom - Math.round((area.bottom - area.top) * VOLUMES);
  return {
    prices: { ...sheet, area: { ...area, bottom: split - OVER_VOLUMES } },
    volumes: { ...sheet, area: { ...area, top: split } },
  };
}

function drawCandleAxes(sheet, { prices }, { low, high, ...seen }, x, y) {
  const { pen, area, paint } = sheet;
  const ys = priceTicks(low, high, prices.area.bottom - prices.area.top, seen.isLogit);
  const xs = timeTicks(seen.from, seen.to, area.right - area.left, seen.isLocal);
  drawAxes(sheet, x, y, xs, { ...ys, text: (one) => priceText(one, ys.digits) });
  line(pen, area.left, area.bottom - 1, area.right, area.bottom - 1);
}

// Beside volumes, where none and a round number of shares are, as figures have them.
function drawVolumeMarks({ pen, paint }, { area }, most, up) {
  if (!most) return;
  const power = 10 ** Math.floor(Math.log10(most) + 1e-9);
  const some = [5, 2, 1].map((times) => times * power).find((each) => each <= most * (1 + 1e-9));
  pen.textAlign = "right";
  pen.fillStyle = paint.quiet;
  for (const count of [0, some]) pen.fillText(roundText(count), area.left - 6, up(count) + 4);
}

// On a ground of its own, since it may stand in a gap.
function drawMostTraded({ pen, paint }, { area }, most) {
  const text = most ? `shares traded, ${Math.round(most).toLocaleString("en")} at most` : "nothing traded";
  pen.textAlign = "left";
  pen.fillStyle = paint.ground;
  pen.fillRect(area.left + 2, area.top - 10, pen.measureText(text).width + 4, 13);
  pen.fillStyle = paint.quiet;
  pen.fillText(text, area.left + 4, area.top);
}

function drawCandleHead(sheet, state, view, last, y) {
  const { pen, area, paint } = sheet;
  const { label, every, of } = state.values;
  drawHead(sheet, "Candles", label, [
    ["\u25af rose", paint.bid],
    ["\u25ae fell", paint.ask],
    ["\u25a8 in part a gap", paint.quiet],
    [`${every} of ${of}, ${unitText(view, view.edge)}`],
  ]);
  if (!view.isLive || state.values.doubt || !last || Number.isNaN(last[CLOSE])) return;
  pen.textAlign = "left";
  pen.fillStyle = kindOf(last, paint).colour;
  pen.fillText(priceText(last[CLOSE]), area.right + 5, y(last[CLOSE]) + 4);
}

class CandleDrawing {
  // When the first candle begins, and when the last one ends.
  times(state) {
    const all = candlesOf(state, -Infinity);
    return all.length ? [all[0][START], all[all.length - 1][START] + state.values.length] : [];
  }

  draw(sheet, state, view) {
    const { pen, area, paint } = sheet;
    const { length } = state.values;
    const { isLocal, isLogit, drawn: { from, to } } = view;
    const candles = candlesOf(state, from).filter((candle) => candle[START] < to);
    const reach = { ...candleReach(candles, isLogit), from, to, isLocal, isLogit };
    const places = placesOf(sheet);
    const x = scale(from, to, area.left, area.right);
    const y = priceScale(reach.low, reach.high, places.prices.area, isLogit);
    const up = scale(0, reach.most || 1, places.volumes.area.bottom, places.volumes.area.top + 4);
    drawCandleAxes(sheet, places, reach, x, y);
    inside(sheet, () => {
      shadeGaps(sheet, state, x, to);
      for (const candle of candles) {
        const left = x(candle[START] + ((1 - WIDE) / 2) * length);
        const width = Math.max(1, Math.round(x(candle[START] + ((1 + WIDE) / 2) * length) - left));
        const kind = kindOf(candle, paint);
        drawCandle(pen, candle, kind, left, width, y);
        if (candle[VOLUME]) drawBox(pen, kind, left, up(candle[VOLUME]), width, up(0) - up(candle[VOLUME]));
      }
    });
    drawVolumeMarks(sheet, places.volumes, reach.most, up);
    if (!state.values.doubt || candles.length) drawMostTraded(sheet, places.volumes, reach.most);
    drawCandleHead(sheet, state, view, presentCandle(state), y);
    drawMark(places.prices, state.values.marked, y);
    drawDoubt(sheet, state.values.doubt);
    return { x, y, prices: places.prices.area };
  }

  // What the candle of a time did.
  at(state, { time }) {
    const { length } = state.values;
    const candle = candlesOf(state, time - 1).find((each) => each[START] <= time && time < each[START] + length);
    return candle ? candleRows(candle) : [];
  }

  told(state) {
    const all = candlesOf(state, -Infinity);
    const rows = all.length ? candleRows(all[all.length - 1]) : [["no candle", "yet"]];
    return `The last candle: ${rows.map((row) => row.slice(0, 2).join(" ")).join(", ")}`;
  }
}

function candleRows(candle) {
  const prices = [["open", OPEN], ["high", HIGH], ["low", LOW], ["close", CLOSE]].map(([name, at]) => [name, priceText(candle[at])]);
  const known = Number.isNaN(candle[OPEN]) ? [["price", "none"]] : prices;
  return [...known, ["shares", countText(candle[VOLUME])], ...(candle[TOUCHED] ? [["in part", "a gap"]] : [])];
}

export default {
  render(shown) {
    const drawing = () => new CandleDrawing();
    return timeChart(shown, { title: "Candles", height: HEIGHT, drawing: drawing(), picture: drawing });
  },
};
