// Cumulative depth: how many shares rest up to each price, on both sides of the middle.

const HEIGHT = 232;
const RIGHT = 12;
// A book reaches from 0.01 to 0.99; what is worth a look is near its middle.
const LEVELS = 15;
const NOBODY = "nobody offers a price now";
const DEPTH_KEYS = "arrows left and right: move over the levels; Escape: leave them";

// One side, the best price first, and where the last total that is shown ends: at the next level, or a tick farther.
function sideOf(state, name) {
  const [prices, sizes, totals] = ["prices", "sizes", "totals"].map((kind) => state.array(`${name}_${kind}`));
  const shown = Math.min(LEVELS, prices.length);
  const apart = [...prices].slice(1, shown).map((price, at) => Math.abs(price - prices[at]));
  const tick = apart.length ? Math.min(...apart) : 0.01;
  const past = prices[shown - 1] + (name === "bid" ? -tick : tick);
  const end = prices.length > shown ? prices[shown] : Math.min(1, Math.max(0, past));
  return { name, end, prices: prices.subarray(0, shown), sizes: sizes.subarray(0, shown), totals: totals.subarray(0, shown) };
}

function drawSide({ pen, area }, { prices, totals, end }, colour, x, y) {
  if (!prices.length) return;
  const outline = () => {
    pen.beginPath();
    pen.moveTo(x(prices[0]), area.bottom);
    for (let at = 0; at < prices.length; at += 1) {
      pen.lineTo(x(prices[at]), y(totals[at]));
      pen.lineTo(x(at + 1 < prices.length ? prices[at + 1] : end), y(totals[at]));
    }
  };
  outline();
  pen.lineTo(x(end), area.bottom);
  pen.closePath();
  pen.globalAlpha = 0.2;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = 1;
  // The edge of the chart is no step of the book.
  outline();
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.stroke();
}

// Gives the scales of what was drawn, and its sides.
function drawDepth(sheet, state) {
  const { area, paint } = sheet;
  const [bids, asks] = [sideOf(state, "bid"), sideOf(state, "ask")];
  const prices = [bids, asks].filter((side) => side.prices.length).flatMap((side) => [side.prices[0], side.end]);
  const [low, high] = prices.length ? [Math.min(...prices), Math.max(...prices)] : [0, 1];
  const most = 1.08 * Math.max(1, ...bids.totals.slice(-1), ...asks.totals.slice(-1));
  const x = scale(low, high, area.left, area.right);
  const y = scale(0, most, area.bottom, area.top);
  const [xs, ys] = [ticks(low, high, area.right - area.left, 60), ticks(0, most, area.bottom - area.top)];
  drawAxes(sheet, x, y, { ...xs, text: (price) => priceText(price, xs.digits) }, { ...ys, text: roundText });
  inside(sheet, () => {
    drawSide(sheet, bids, paint.bid, x, y);
    drawSide(sheet, asks, paint.ask, x, y);
  });
  const { mid, spread, label, doubt, state: word } = state.values;
  const notes = mid === null ? [] : [[`mid ${priceText(mid)}`, paint.mid], [`spread ${priceText(spread)}`]];
  drawHead(sheet, "Depth", label, [...notes, [doubt ? "" : word]]);
  if (!prices.length && !doubt) drawSentence(sheet, NOBODY, paint.ground);
  drawDoubt(sheet, doubt);
  return { area, x, y, sides: { bid: bids, ask: asks } };
}

// The levels from the lowest price to the highest, as the arrows go over them.
function levelsOf({ bid, ask }) {
  const of = ({ name, prices, sizes, totals }) =>
    [...prices].map((price, at) => ({ name, price, size: sizes[at], total: totals[at] }));
  return [...of(bid).reverse(), ...of(ask)];
}

// What the pointer is over: of the bids the lowest that is no lower, of the asks the highest that is no higher.
function levelAt(sides, price) {
  const levels = levelsOf(sides);
  const bid = levels.find((level) => level.name === "bid" && level.price >= price - 1e-9);
  const asks = levels.filter((level) => level.name === "ask" && level.price <= price + 1e-9);
  return bid || asks[asks.length - 1] || null;
}

class Depth {
  constructor(stage) {
    Object.assign(this, { stage, scales: null, state: null, price: null, isKey: false, problem: "" });
  }

  draw(state) {
    this.state = state;
    const sheet = this.stage.fresh();
    this.tools.refresh(this.problem);
    if (state.number < 0) return;
    this.scales = drawDepth(sheet, state);
    this.point();
    this.word();
  }

  warn(problem) {
    this.problem = problem;
    this.later();
  }

  pointAt(price, isKey) {
    Object.assign(this, { price, isKey });
    this.later();
  }

  step(by) {
    const levels = levelsOf(this.scales.sides);
    const level = this.price === null ? null : levelAt(this.scales.sides, this.price);
    const at = level ? levels.findIndex((each) => each.price === level.price) + by : (levels.length - by) >> 1;
    if (levels.length) this.pointAt(levels[Math.min(Math.max(at, 0), levels.length - 1)].price, true);
  }

  // Draws what is at the price under the pointer.
  point() {
    const { stage, scales, price } = this;
    const over = stage.fresh(stage.over);
    if (price === null || !scales) {
      stage.tell([]);
      return;
    }
    const level = levelAt(scales.sides, price);
    const x = scales.x(price);
    drawCross(over, { x, y: level ? scales.y(level.total) : NaN, time: priceText(Math.round(price * 1000) / 1000, 3), price: "" });
    stage.tell(level ? levelRows(level, this.state.values.doubt) : [["", "no shares rest here"]], { x, isKey: this.isKey });
  }

  word() {
    this.stage.word(`Depth of ${this.state.values.label || "nothing yet"}`, () => depthWords(this.state));
  }
}

function depthWords(state) {
  const { mid, spread, label, doubt, state: word } = state.values;
  const total = (name) => countText(state.array(`${name}_totals`).slice(-1)[0] || 0);
  const middle = mid === null ? "No middle" : `Mid ${priceText(mid)}, spread ${priceText(spread)}`;
  const sides = `${total("bid")} shares bid, ${total("ask")} shares asked`;
  return `Depth of ${label}. ${middle}; ${sides}. ${doubt || `Its book is ${word}`}. ${DEPTH_KEYS}.`;
}

function levelRows({ name, price, size, total }, doubt) {
  const [side, direction] = name === "bid" ? ["bids", "from"] : ["asks", "up to"];
  const rows = [
    [`${side} ${direction} ${priceText(price)}`, `${countText(total)} shares`, name],
    ["at this price", `${countText(size)} shares`],
  ];
  return doubt ? [...rows, ["now", doubt]] : rows;
}

function answering({ canvas }, depth) {
  const move = (event) => {
    if (!depth.scales) return;
    const { area, x } = depth.scales;
    const px = event.clientX - canvas.getBoundingClientRect().left;
    depth.pointAt(px >= area.left && px <= area.right ? x.back(px) : null, false);
  };
  const leave = () => depth.pointAt(null, false);
  const acts = { ArrowLeft: () => depth.step(-1), ArrowRight: () => depth.step(1), Escape: leave };
  const key = (event) => {
    const act = acts[event.key];
    if (!act || !depth.scales) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  };
  const heard = { pointerdown: move, pointermove: move, pointerleave: leave, blur: leave, keydown: key };
  for (const [name, act] of Object.entries(heard)) canvas.addEventListener(name, act);
}

export default {
  render({ model, el }) {
    const stage = new Stage(el, HEIGHT, RIGHT);
    const depth = new Depth(stage);
    const name = () => fileName("depth", depth.state.values.label, Date.now());
    const picture = (sheet) => drawDepth(sheet, depth.state);
    depth.tools = new Toolbar(stage, pictureTools(stage, picture, name, (problem) => depth.warn(problem)));
    answering(stage, depth);
    const end = follow(model, el, (state) => depth.draw(state), (paced) => {
      const frames = eachFrame(paced);
      depth.later = frames.later;
      return frames;
    });
    return () => {
      end();
      stage.end();
    };
  },
};
