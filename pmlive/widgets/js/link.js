// How a view in the browser follows its widget in the kernel.
//
// The widget numbers what it sends: a "whole" has everything, an "append" only what came since the number before, and
// "at" says again which number was the last, for whoever missed that one. A view that missed one asks for a whole
// ("look") until it gets it. It says how late it draws ("seen"), when it comes into sight or leaves it ("visible"), so
// that nothing is sent that nobody looks at, and now and then that it is still there ("here").

// What a view says costs the kernel more than a drawing: seconds between two words while it is or was late just now, so
// that the kernel slows down and comes back step by step, and between two while all is well.
const SEEN_EVERY = [1, 10];
const LATE = 0.5;
const JUST_NOW = 10;
const HERE_EVERY = 10;
const LOOK_AGAIN = [1000, 8000];
const LAG_WITHIN = 30;

// Rows that came so far, in one array with room at its end, so that adding some does not copy all.
class Series {
  constructor(columns, capacity) {
    this.columns = columns;
    this.capacity = capacity * columns;
    this.room = new Float64Array(1024);
    this.begin = 0;
    this.end = 0;
    // How many rows ever came.
    this.came = 0;
  }

  push(numbers) {
    this.came += numbers.length / this.columns;
    const added = numbers.subarray(Math.max(0, numbers.length - this.capacity));
    if (this.end + added.length > this.room.length) this.move(added.length);
    this.room.set(added, this.end);
    this.end += added.length;
    this.begin = Math.max(this.begin, this.end - this.capacity);
  }

  move(added) {
    const kept = this.room.subarray(this.begin, this.end);
    const needed = 2 * Math.min(kept.length + added, this.capacity) + added;
    const room = needed > this.room.length ? new Float64Array(needed) : this.room;
    room.set(kept, 0);
    this.room = room;
    this.end = kept.length;
    this.begin = 0;
  }

  get numbers() {
    return this.room.subarray(this.begin, this.end);
  }
}

// What a view knows: plain values by name, and arrays by name.
class State {
  constructor() {
    this.number = -1;
    // How often everything came anew.
    this.wholes = 0;
    this.sent = 0;
    this.values = {};
    this.series = {};
  }

  // Takes a message; false when one before it was missed.
  take(message, buffer) {
    if (message.kind === "append") {
      if (message.number <= this.number) return true;
      if (message.number !== this.number + 1) return false;
    } else {
      this.wholes += 1;
    }
    this.number = message.number;
    this.sent = message.sent;
    this.values = message.values;
    let at = buffer.byteOffset;
    for (const [name, rows, columns] of message.arrays) {
      const bytes = rows * columns * 8;
      // A copy: the buffer of a message need not be aligned for numbers.
      const numbers = new Float64Array(buffer.buffer.slice(at, at + bytes));
      at += bytes;
      const grows = message.kind === "append" && message.grows.includes(name) && this.series[name];
      if (!grows) this.series[name] = new Series(columns, message.capacity);
      this.series[name].push(numbers);
    }
    return true;
  }

  // How many numbers a row of an array has.
  columns(name) {
    return this.series[name] ? this.series[name].columns : 1;
  }

  // How many rows of an array ever came since everything came.
  came(name) {
    return this.series[name] ? this.series[name].came : 0;
  }

  // Where those begin, of the rows that are here, that came after so many.
  after(name, came) {
    return Math.max(0, this.array(name).length / this.columns(name) - (this.came(name) - came));
  }

  array(name) {
    return this.series[name] ? this.series[name].numbers : new Float64Array(0);
  }
}

// How late messages come, in seconds. The clocks of kernel and browser have nothing to do with each other, so the
// message that was the quickest of the last half minute or so counts as one that took no time.
class Lag {
  constructor() {
    this.quickest = [Infinity, Infinity];
    this.since = -Infinity;
  }

  came(sent, now) {
    if (now - this.since > LAG_WITHIN) {
      this.quickest = [this.quickest[1], Infinity];
      this.since = now;
    }
    this.quickest[1] = Math.min(this.quickest[1], now - sent);
  }

  of(sent, now) {
    return now - sent - Math.min(...this.quickest);
  }
}

// When to say how late it is, and that it is there; times are in seconds.
class Word {
  constructor() {
    this.said = -Infinity;
    this.late = -Infinity;
  }

  // Tells whether it is time to say how late it is.
  due(late, now) {
    if (late > LATE) this.late = now;
    return now - this.said >= SEEN_EVERY[now - this.late < JUST_NOW ? 0 : 1];
  }

  // Tells whether nothing was said for long.
  silent(now) {
    return now - this.said >= HERE_EVERY;
  }
}

// What follows a widget, but for the page that it is in: `say` sends, `later` has it drawn, `warn` shows a problem.
class Follower {
  constructor({ say, later, warn }) {
    this.state = new State();
    this.lag = new Lag();
    this.behind = false;
    this.say = say;
    this.later = later;
    this.warn = warn;
  }

  receive(message, buffer, now) {
    if (message.kind === "problem") {
      this.warn(message.text);
    } else if (message.kind === "at") {
      if (message.number !== this.state.number) this.look();
    } else if (this.state.take(message, buffer)) {
      this.lag.came(message.sent, now);
      this.behind = false;
      this.warn("");
      this.later();
    } else {
      this.look();
    }
  }

  // How late it is to draw now what came last.
  late(now) {
    const late = this.lag.of(this.state.sent, now);
    return Number.isFinite(late) ? late : 0;
  }

  // Asks for everything, once, until it comes; `again` asks once more.
  look() {
    if (this.behind) return;
    this.behind = true;
    this.say({ kind: "look" });
  }

  again() {
    if (this.behind) this.say({ kind: "look" });
    return this.behind;
  }
}

// Has something drawn in the next animation frame whenever that is asked for.
function eachFrame({ paint }) {
  let frame = 0;
  const now = () => {
    frame = 0;
    paint();
  };
  const later = () => {
    if (!frame) frame = requestAnimationFrame(now);
  };
  return { later, end: () => cancelAnimationFrame(frame) };
}

// Keeps a view drawn: calls `draw(state)` in the next animation frame after something came, or when `pace` says so.
// Gives the way to end it.
function follow(model, el, draw, pace = eachFrame) {
  const view = Math.random().toString(36).slice(2);
  const problem = document.createElement("div");
  problem.style.cssText = "color: var(--jp-error-color1, #c62828); font-size: 12px;";
  el.append(problem);
  const word = new Word();
  let drawn = -1;
  let inView = true;
  let ended = false;

  const seconds = () => performance.now() / 1000;
  const say = (content) => {
    word.said = seconds();
    try {
      if (!ended) model.send({ ...content, view });
    } catch {
      // The kernel was restarted, or ended: what is drawn stays, but it is not to be taken for what is now.
      ended = true;
      problem.textContent = "the kernel behind this has ended; run the cell again to go on";
    }
  };
  const follower = new Follower({ say, later: () => paced.later(), warn: (text) => (problem.textContent = text) });
  const { state } = follower;

  const paint = () => {
    draw(state);
    el.dataset.draws = String(Number(el.dataset.draws || 0) + 1);
    el.dataset.number = String(state.number);
    el.dataset.doubt = state.values.doubt || "";
    // What is drawn again, in another size, is not late.
    if (state.number === drawn) return;
    drawn = state.number;
    const lag = follower.late(seconds());
    if (word.due(lag, seconds())) say({ kind: "seen", number: drawn, lag });
  };
  const paced = pace({ paint, state, say });
  const { later } = paced;
  const receive = (message, buffers) => follower.receive(message, buffers[0], seconds());
  const visible = () => inView && !document.hidden;
  const tell = () => say({ kind: "visible", visible: visible() });
  let isPlaced = false;
  const sight = new IntersectionObserver((entries) => {
    // Outside of JupyterLab's outputs nothing hides the picture that is there for those who open the notebook later.
    if (!isPlaced && !el.closest(".jp-OutputArea-child")) say({ kind: "elsewhere" });
    isPlaced = true;
    const now = entries[entries.length - 1].isIntersecting;
    if (now !== inView) {
      inView = now;
      tell();
    }
  });
  const size = new ResizeObserver(later);
  const endTheme = onTheme(later);
  const here = setInterval(() => visible() && word.silent(seconds()) && say({ kind: "here" }), HERE_EVERY * 1000);
  let wait = LOOK_AGAIN[0];
  let again = 0;
  const lookAgain = () => {
    wait = follower.again() ? Math.min(2 * wait, LOOK_AGAIN[1]) : LOOK_AGAIN[0];
    again = setTimeout(lookAgain, wait);
  };

  const picture = model.get("picture");
  if (picture && picture.buffer) state.take(picture, picture.buffer);
  model.on("msg:custom", receive);
  document.addEventListener("visibilitychange", tell);
  sight.observe(el);
  size.observe(el);
  tell();
  follower.look();
  again = setTimeout(lookAgain, wait);
  later();
  // For whoever looks into the page.
  el.dataset.widget = model.get("_anywidget_id").split(".").pop();
  el.followed = state;

  return () => {
    paced.end();
    clearTimeout(again);
    clearInterval(here);
    sight.disconnect();
    size.disconnect();
    endTheme();
    document.removeEventListener("visibilitychange", tell);
    model.off("msg:custom", receive);
    say({ kind: "visible", visible: false });
  };
}
