// How a view in the browser follows its widget in the kernel.
//
// The widget numbers what it sends: a "whole" has everything, an "append" only what came since the number before.
// A view that missed one asks for a whole ("look"). Once a second it says how far it has drawn ("seen"), and it says
// when it comes into sight or leaves it ("visible"), so that nothing is sent that nobody looks at.

const SEEN_EVERY = 1000;
const LOOK_EVERY = 1000;

// Rows that came so far, in one array with room at its end, so that adding some does not copy all.
class Series {
  constructor(columns, capacity) {
    this.columns = columns;
    this.capacity = capacity * columns;
    this.room = new Float64Array(1024);
    this.begin = 0;
    this.end = 0;
  }

  push(numbers) {
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
    this.values = {};
    this.series = {};
  }

  // Takes a message; false when one before it was missed.
  take(message, buffer) {
    if (message.kind === "append") {
      if (message.number <= this.number) return true;
      if (message.number !== this.number + 1) return false;
    }
    this.number = message.number;
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

  array(name) {
    return this.series[name] ? this.series[name].numbers : new Float64Array(0);
  }
}

// Keeps a view drawn: calls `draw(state)` in the next animation frame after something came. Gives the way to end it.
function follow(model, el, draw) {
  const state = new State();
  const view = Math.random().toString(36).slice(2);
  const problem = document.createElement("div");
  problem.style.cssText = "color: var(--jp-error-color1, #c62828); font-size: 12px;";
  el.append(problem);
  let frame = 0;
  let lastSeen = 0;
  let lastLook = 0;
  let inView = true;

  const paint = () => {
    frame = 0;
    draw(state);
    el.dataset.draws = String(Number(el.dataset.draws || 0) + 1);
    el.dataset.number = String(state.number);
    if (Date.now() - lastSeen >= SEEN_EVERY) {
      lastSeen = Date.now();
      model.send({ kind: "seen", number: state.number });
    }
  };
  const later = () => {
    if (!frame) frame = requestAnimationFrame(paint);
  };
  const look = () => {
    if (Date.now() - lastLook < LOOK_EVERY) return;
    lastLook = Date.now();
    model.send({ kind: "look" });
  };
  const receive = (message, buffers) => {
    if (message.kind === "problem") {
      problem.textContent = message.text;
      return;
    }
    problem.textContent = "";
    if (state.take(message, buffers[0])) later();
    else look();
  };
  const tell = () => {
    model.send({ kind: "visible", view, visible: inView && !document.hidden });
  };
  const sight = new IntersectionObserver((entries) => {
    const now = entries[entries.length - 1].isIntersecting;
    if (now !== inView) {
      inView = now;
      tell();
    }
  });
  const size = new ResizeObserver(later);

  const picture = model.get("picture");
  if (picture && picture.buffer) state.take(picture, picture.buffer);
  model.on("msg:custom", receive);
  document.addEventListener("visibilitychange", tell);
  sight.observe(el);
  size.observe(el);
  tell();
  look();
  later();

  return () => {
    cancelAnimationFrame(frame);
    sight.disconnect();
    size.disconnect();
    document.removeEventListener("visibilitychange", tell);
    model.off("msg:custom", receive);
    model.send({ kind: "visible", view, visible: false });
  };
}
