// Moves viewports as people do. A line on the standard input is a list of steps, and the answer lists what is shown after
// each: the span to show, the span that is drawn, whether it is live, the room beside the charts, whether the step changed anything, and which charts
// were drawn in the frame that followed.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const frames = [];
globalThis.requestAnimationFrame = (draw) => frames.push(draw);
const { viewportOf } = new Function(`${readFileSync(process.argv[2], "utf8")}; return { viewportOf };`)();

function chartOf(view, pixels, painted) {
  const chart = {
    state: { number: -1, values: { window: 0 } },
    times: [],
    heard: undefined,
    first: () => (chart.times.length ? chart.times[0] : NaN),
    edge: () => Math.max(chart.now, chart.times.length ? chart.times[chart.times.length - 1] : 0),
    pixels: () => pixels,
    room: 50,
    margin: () => chart.room,
    paint: () => painted.push(chart),
    point() {},
  };
  view.join(chart);
  return chart;
}

function hear(view, chart, { times, now, window, room }) {
  Object.assign(chart, { times, now, room });
  chart.state = { number: chart.state.number + 1, values: { window } };
  view.later(chart);
}

function walked(steps) {
  const [view, painted] = [viewportOf(null), []];
  const charts = [chartOf(view, 800, painted), chartOf(view, 800, painted)];
  return steps.map(([kind, ...given]) => {
    painted.length = 0;
    const changed = kind === "hear" ? hear(view, charts[given[0]], given[1]) : view[kind](...given);
    while (frames.length) frames.shift()();
    const { span, drawn, isLive } = view;
    return { span: [span.from, span.to], drawn: [drawn.from, drawn.to], live: isLive, margin: view.margin, changed: changed === true, painted: painted.map((one) => charts.indexOf(one)) };
  });
}

for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(walked(JSON.parse(line))));
