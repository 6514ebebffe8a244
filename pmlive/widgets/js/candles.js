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

function reachOf(candles) {
  let [low, high, most] = [Infinity, -Infinity, 0];
  for (const candle of candles) {
    if (candle[LOW] < low) low = candle[LOW];
    if (candle[HIGH] > high) high = candle[HIGH];
    most = Math.max(most, candle[VOLUME]);
  }
  if (low > high) return { low: 0, high: 1, most };
  const margin = Math.max((high - low) * 0.08, 0.002);
  return { low: Math.max(0, low - margin), high: Math.min(1, high + margin), most };
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
  else pen.strokeRect(x0 + 0.5, y0 + 0.5, Math.max(0, x1 - x0 - 1), Math.max(0, y1 - y0 - 1));
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

function drawCandleAxes(sheet, { prices, volumes }, reach, x, y) {
  const { pen, area, paint } = sheet;
  const height = prices.area.bottom - prices.area.top;
  const ys = ticks(reach.low, reach.high, height);
  const xs = timeTicks(reach.from, reach.to, area.right - area.left);
  drawAxes(sheet, x, y, xs, { ...ys, text: (one) => priceText(one, ys.digits) });
  line(pen, area.left, area.bottom - 1, area.right, area.bottom - 1);
  pen.textAlign = "left";
  pen.fillStyle = paint.quiet;
  const most = `shares traded, ${Math.round(reach.most).toLocaleString("en")} at most`;
  pen.fillText(reach.most ? most : "nothing traded", area.left + 4, volumes.area.top);
}

function drawCandles(sheet, state) {
  if (state.number < 0) return;
  const { pen, area, paint } = sheet;
  const { length, window, now } = state.values;
  const all = candlesOf(state, -Infinity);
  const ends = all.length ? Math.max(now, all[all.length - 1][START] + length) : now;
  const begins = all.length ? all[0][START] : now - 1000;
  const from = window ? Math.max(begins, now - window) : begins;
  const candles = candlesOf(state, from);
  const reach = { ...reachOf(candles), from, to: ends };
  const places = placesOf(sheet);
  const x = scale(from, ends, area.left, area.right);
  const y = scale(reach.low, reach.high, places.prices.area.bottom, places.prices.area.top);
  const up = scale(0, reach.most || 1, places.volumes.area.bottom, places.volumes.area.top + 4);
  drawCandleAxes(sheet, places, reach, x, y);
  inside(sheet, () => {
    shadeGaps(sheet, state, x, now);
    for (const candle of candles) {
      const left = x(candle[START] + ((1 - WIDE) / 2) * length);
      const width = Math.max(1, Math.round(x(candle[START] + ((1 + WIDE) / 2) * length) - left));
      const kind = kindOf(candle, paint);
      drawCandle(pen, candle, kind, left, width, y);
      if (candle[VOLUME]) drawBox(pen, kind, left, up(candle[VOLUME]), width, up(0) - up(candle[VOLUME]));
    }
  });
  drawCandleHead(sheet, state, candles, y);
  drawDoubt(sheet, state.values.doubt);
}

function drawCandleHead(sheet, state, candles, y) {
  const { pen, area, paint } = sheet;
  const { label, every, of } = state.values;
  drawHead(sheet, "Candles", label, [
    ["\u25af rose", paint.bid],
    ["\u25ae fell", paint.ask],
    ["\u25a8 in part a gap", paint.quiet],
    [`${every} of ${of}, $ a share, UTC`],
  ]);
  const last = candles[candles.length - 1];
  if (!last || Number.isNaN(last[CLOSE])) return;
  pen.textAlign = "left";
  pen.fillStyle = kindOf(last, paint).colour;
  pen.fillText(priceText(last[CLOSE]), area.right + 5, y(last[CLOSE]) + 4);
}

export default {
  render({ model, el }) {
    const fresh = canvasIn(el, HEIGHT);
    return follow(model, el, (state) => drawCandles(fresh(), state));
  },
};
