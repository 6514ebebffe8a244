// What mouse, touch and keys do on a chart over time.

const KEYS =
  "arrows left and right: earlier, later; + and -: nearer, farther; [ and ]: move the crosshair; Home: everything; End or Escape: live";
const MOUSE = "wheel: zoom; drag: move; double-click: live";

// How much a turn of the wheel, in pixels, makes the span longer.
const TURN = 0.0015;
const PINCH = 0.01;
const LINES = 16;
// A page that is being scrolled goes on scrolling when a chart comes under the pointer, in milliseconds.
const SCROLLING = 250;
const STEP = 0.1;
const NEARER = 1 / 1.5;
const CROSS_STEP = 0.01;
// A press that moves no more than so many pixels is no drag.
const STILL = 3;

// Has a canvas answer; `chart` says where its times are. Gives the way to end that.
function pointing(stage, chart, view) {
  const { canvas } = stage;
  const pressed = new Map();
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { px: event.clientX - box.left, py: event.clientY - box.top };
  };
  const timeAt = (px) => chart.scales.x.back(px);
  const point = (event) => view.pointAt({ chart, ...place(event), isKey: false });

  const down = (event) => {
    if (event.button || !chart.scales) return;
    canvas.setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, place(event));
    point(event);
  };
  const move = (event) => {
    if (!chart.scales) return;
    const [before, now] = [pressed.get(event.pointerId), place(event)];
    if (before) drag(event.pointerId, before, now);
    point(event);
  };
  const drag = (id, before, now) => {
    const other = [...pressed].find(([each]) => each !== id);
    if (!other && !before.moved && Math.abs(now.px - before.px) < STILL) return;
    if (other) pinch(before.px, now.px, other[1].px);
    else view.pan(timeAt(before.px) - timeAt(now.px));
    canvas.style.cursor = "grabbing";
    pressed.set(id, { ...now, moved: true });
  };
  const pinch = (before, now, other) => {
    const [apart, were] = [Math.abs(now - other), Math.abs(before - other)];
    if (apart > STILL && were > STILL) view.zoom(were / apart, timeAt(other));
  };
  const up = (event) => {
    pressed.delete(event.pointerId);
    canvas.style.cursor = "crosshair";
  };
  const leave = (event) => {
    if (!pressed.has(event.pointerId)) view.pointAt(null);
  };

  let scrolled = -Infinity;
  const scrolling = (event) => {
    if (!event.defaultPrevented) scrolled = event.timeStamp;
  };
  const wheel = (event) => {
    if (!chart.scales) return;
    if (event.timeStamp - scrolled < SCROLLING) return;
    const unit = event.deltaMode ? LINES : 1;
    const [across, along] = event.shiftKey ? [event.deltaY || event.deltaX, 0] : [event.deltaX, event.deltaY];
    const { x } = chart.scales;
    const times = Math.exp(Math.max(-300, Math.min(300, along * unit)) * (event.ctrlKey ? PINCH : TURN));
    const isWide = Math.abs(across) > Math.abs(along);
    const did = isWide ? view.pan(x.back(across * unit) - x.back(0)) : view.zoom(times, x.back(place(event).px));
    // What cannot be moved any farther leaves the page to scroll.
    if (did) event.preventDefault();
  };

  const cross = (by) => {
    const { area } = chart.scales;
    const [width, { point: there }] = [area.right - area.left, view];
    const from = there ? there.px : by < 0 ? area.right : area.left;
    const px = Math.min(Math.max(from + by * width, area.left), area.right);
    view.pointAt({ chart, px, py: there && there.chart === chart ? there.py : NaN, isKey: true });
  };
  const length = () => view.span.to - view.span.from;
  const middle = () => {
    if (view.point && view.point.isKey) return timeAt(view.point.px);
    return view.isLive ? view.span.to : view.span.to - length() / 2;
  };
  const acts = {
    ArrowLeft: () => view.pan(-STEP * length()),
    ArrowRight: () => view.pan(STEP * length()),
    "+": () => view.zoom(NEARER, middle()),
    "=": () => view.zoom(NEARER, middle()),
    "-": () => view.zoom(1 / NEARER, middle()),
    "[": () => cross(-CROSS_STEP),
    "]": () => cross(CROSS_STEP),
    Home: () => view.everything(),
    End: () => view.follow(),
    Escape: () => {
      view.pointAt(null);
      view.follow();
    },
  };
  const key = (event) => {
    const act = acts[event.key];
    if (!act || !chart.scales || event.ctrlKey || event.altKey || event.metaKey) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  };

  // One finger up or down scrolls the page; what it does else, and what two do, is the chart's.
  canvas.style.touchAction = "pan-y";
  const heard = {
    pointerdown: down,
    pointermove: move,
    pointerup: up,
    pointercancel: up,
    pointerleave: leave,
    dblclick: () => view.follow(),
    keydown: key,
    blur: () => view.point && view.point.isKey && view.pointAt(null),
  };
  for (const [name, act] of Object.entries(heard)) canvas.addEventListener(name, act);
  canvas.addEventListener("wheel", wheel, { passive: false });
  window.addEventListener("wheel", scrolling, { passive: true });
  return () => window.removeEventListener("wheel", scrolling);
}
