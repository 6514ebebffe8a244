"""Measure live charts in a real JupyterLab in a real Chromium, while a venue in another process floods the kernel.

`--charts` names other classes to be measured in the same way, as `package.module:Class`; of those that do not tell
what they drew, the messages that came count as updates.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.lab import chromium, serving
from support.notebook import Desk, Notebook, counting

from . import figures
from .load import Served, served, slope

if TYPE_CHECKING:
    from playwright.sync_api import Page

_CHARTS = ("PriceChart", "PriceChart", "DepthChart", "HeatMap")
_RATE = 10
# An animation frame that took less had nothing to draw, in milliseconds.
_NOTHING_DRAWN = 0.05
T = TypeVar("T")
# Notes how long each animation frame's own work takes, and how late each message is drawn: `late` knows the kernel's
# clock, since both processes run on one machine.
_PROBE = """
window.painted = [];
window.late = [];
window.offset = null;
const frame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (draw) => frame((time) => {
  const began = performance.now();
  draw(time);
  window.painted.push(performance.now() - began);
});
new MutationObserver((changes) => {
  if (window.offset === null) return;
  for (const { target } of changes) {
    const { sent } = target.followed || {};
    if (sent) window.late.push(Date.now() / 1000 - window.offset - sent);
  }
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-number"] });
"""
_BEGIN = """
import json, os, threading, time
from importlib import import_module
import pmlive as pm
venue = pm.Venue(**{venue})
live = pm.Manager(venue, rows={rows})
live.subscribe_orderbook_updates({tokens})
while live.prices.height < 1000:
    time.sleep(0.1)
by_changes = live.prices["token_id"].value_counts(sort=True)["token_id"].to_list()
"""
# Puts an hour before what came: ten prices a second of the tokens of the price charts, and a book a second of the heat
# map's, which are those that came, again and again.
_AN_HOUR = """
import polars as pl
from datetime import timedelta
def an_hour():
    for table, every, tokens in (("prices", "100ms", by_changes[:2]), ("depth", "1s", by_changes[3:4])):
        rolling = live._engine.source.ingest.frames[table]
        have = rolling.frame(time.time_ns())
        first = have["ts_recv"].min()
        times = pl.datetime_range(first - timedelta(hours=1), first, every, closed="left", time_unit="ns", eager=True)
        its = [have.filter(pl.col("token_id") == token) for token in tokens]
        again = [one[[at % one.height for at in range(len(times))]].with_columns(ts_recv=times) for one in its]
        older = pl.concat(again).sort("ts_recv").cast(have.schema)
        rolling._chunks.insert(0, older)
        rolling._height += older.height
        rolling.added += older.height
live._engine.call(an_hour)
"""
_SHOW = """
import ipywidgets
charts = []
for at, name in enumerate({classes}):
    module, _, kind = name.partition(":")
    charts.append(getattr(import_module(module), kind)(live, by_changes[at % len(by_changes)], **{options}))
ipywidgets.VBox(charts)
"""
# Processor time of all threads but the feed's, which has thousands of messages to take beside a snapshot.
_NOW = """
feed = next(thread for thread in threading.enumerate() if thread.name == "pmlive")
fields = open(f"/proc/self/task/{feed.native_id}/stat").read().rpartition(")")[2].split()
print(json.dumps({
    "cpu": time.process_time() - (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
    "wall": time.monotonic(),
    "offset": time.time() - time.monotonic(),
    "rss": int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20),
    "events": live.status()["statistics"]["total_events"],
    "load": os.getloadavg()[0],
}))
"""
# What a snapshot for as many charts takes in the feed's thread, in milliseconds a chart.
_GLANCE = """
from pmlive.manager.snapshots import Query, snapshots
asked = [Query(tables={"prices": 500, "trades": 50}, token_id=by_changes[0], depth=0)] * 2
asked += [Query(token_id=by_changes[0]), Query(tables={"depth": 120}, token_id=by_changes[0], depth=0)]
def visit():
    began = time.thread_time()
    snapshots(live._engine, asked)
    return time.thread_time() - began
taken = []
for _ in range(50):
    taken.append(live._engine.call(visit) * 1000 / len(asked))
    time.sleep(0.1)
print(json.dumps(sorted(taken)[25]))
"""
_SEEN = """() => JSON.stringify({
  messages: window.received.messages,
  bytes: window.received.bytes,
  numbers: [...document.querySelectorAll("[data-widget]")].map((el) => Number(el.dataset.number)),
  draws: [...document.querySelectorAll("[data-widget]")].map((el) => Number(el.dataset.draws)),
  rows: Math.max(0, ...[...document.querySelectorAll("[data-widget]")].map((el) => el.followed.array("times").length)),
})"""
_RESET = "(offset) => { window.painted = []; window.late = []; window.offset = offset; }"
_TOOK = "() => JSON.stringify({ painted: window.painted, late: window.late })"
_HEAP = "() => { window.gc(); return performance.memory.usedJSHeapSize / (1 << 20); }"
# From the command to run a cell to the frame in which the last chart has been drawn for the first time.
_FIRST = """async ([cell, many]) => {
  const began = performance.now();
  jupyterapp.shell.currentWidget.content.activeCellIndex = cell;
  jupyterapp.commands.execute("notebook:run-cell");
  const there = () => [...document.querySelectorAll("[data-number]")].filter((el) => Number(el.dataset.number) >= 1);
  while (there().length) await new Promise(requestAnimationFrame);
  while (there().length < many && performance.now() - began < 60000) await new Promise(requestAnimationFrame);
  return (performance.now() - began) / 1000;
}"""

# How long it takes from each move of the pointer over the first chart to the frame with the values under it.
_POINT = """async (moves) => {
  const canvas = document.querySelector("[data-widget] canvas");
  const box = canvas.parentElement.querySelector("div[aria-live]");
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const taken = [];
  for (let at = 0; at < moves; at += 1) {
    await new Promise((go) => setTimeout(go, 20 + 60 * Math.random()));
    const began = performance.now();
    const shown = new Promise((go) => new MutationObserver(go).observe(box, { childList: true }));
    const clientX = left + width * (0.2 + 0.5 * ((at * 0.37) % 1));
    canvas.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX, clientY: top + height / 2 }));
    await shown;
    await new Promise(requestAnimationFrame);
    taken.push(performance.now() - began);
  }
  return JSON.stringify(taken);
}"""
_MOVES = 100


class Now(msgspec.Struct):
    """How the kernel is at a moment."""

    cpu: float
    wall: float
    offset: float
    rss: float
    events: int
    load: float


class Seen(msgspec.Struct):
    """How far the page has come."""

    messages: int
    bytes: int
    numbers: list[int]
    draws: list[int]
    rows: int


class Took(msgspec.Struct):
    """What frames took, in milliseconds, and how late messages were drawn, in seconds."""

    painted: list[float]
    late: list[float]


class Outcome(NamedTuple):
    """What was measured over some seconds."""

    rows: int
    events: float
    updates: float
    cpu: float
    bytes: float
    share: float
    late: float
    latest: float
    painted: float
    load: float
    pointed: Sequence[float]


def main() -> None:
    """Print the figures."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server, chromium() as browser:
        # Of a height that shows all charts at once: those that are out of sight are not drawn.
        page = counting(browser, height=2000)
        page.add_init_script(_PROBE)
        desk = Desk(page, server)
        desk.begin()
        if options.soak:
            figures.show("browser soak", _soak(desk, options), options)
        else:
            figures.show("browser", _figures(desk, options), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.browser", description=__doc__)
    parser.add_argument("--charts", nargs="+", default=[f"pmlive.widgets:{name}" for name in _CHARTS])
    parser.add_argument("--options", default=f"dict(rate={_RATE})", help="what each class is given, as Python")
    parser.add_argument("--seconds", type=float, default=20, help="how long each figure is measured")
    parser.add_argument("--rate", type=int, default=5000, help="messages a second of the venue")
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="watch the memory for so long instead")
    figures.add_options(parser)
    return parser.parse_args()


@contextmanager
def _shown(desk: Desk, options: argparse.Namespace, *serve: str, **more: object) -> "Generator[Notebook]":
    """Open a notebook whose kernel is flooded, with a cell that shows the charts."""
    with served("--rate", str(options.rate), "--seconds", str(options.soak * 60 + 600), *serve) as venue:
        # What is kept is full within two minutes, so that what grows after that is a leak.
        rows = 20_000 if options.soak else 2_000_000
        begin = _BEGIN.format(venue=_addresses(venue), tokens=venue.token_ids, rows=rows)
        given = f"({options.options} | {more!r})"
        notebook = desk.open(begin, _SHOW.format(classes=options.charts, options=given), "live.close()")
        notebook.run(0)
        yield notebook
        notebook.run(2)
        desk.close()


def _addresses(served: Served) -> dict[str, str]:
    return {name: getattr(served.venue, name) for name in ("clob_ws", "live_data", "prices_ws", "clob", "gamma")}


def _figures(desk: Desk, options: argparse.Namespace) -> str:
    with _shown(desk, options) as notebook:
        alone = _measure(notebook, options.seconds, idle=None)
        first = [_first(notebook, len(options.charts)) for _ in range(4)]
        busy = _measure(notebook, options.seconds, idle=alone)
    with _shown(desk, options) as notebook:
        alone = _measure(notebook, options.seconds, idle=None)
        notebook.ask(_AN_HOUR)
        _first(notebook, len(options.charts))
        notebook.ask("for chart in charts:\\n    if hasattr(chart, 'window'): chart.window = None")
        hour = _measure(notebook, options.seconds, idle=alone)
    return _report(options, first, busy, hour)


def _first(notebook: Notebook, many: int) -> float:
    taken = notebook.page.evaluate(_FIRST, [1, many])
    notebook.until_idle()
    return float(taken)


def _measure(notebook: Notebook, seconds: float, *, idle: Outcome | None) -> Outcome:
    """Measure for some seconds; what the kernel does anyway, for as many messages, is not counted for the charts."""
    page = notebook.page
    # What the first pictures cost is not what an update costs.
    page.wait_for_timeout(2000)
    before, seen = notebook.told(_NOW, Now), _told(page, _SEEN, Seen)
    page.evaluate(_RESET, before.offset)
    page.wait_for_timeout(seconds * 1000)
    took, later, after = _told(page, _TOOK, Took), _told(page, _SEEN, Seen), notebook.told(_NOW, Now)
    pointed = [] if idle is None else msgspec.json.decode(page.evaluate(_POINT, _MOVES), type=list[float])
    wall, events = after.wall - before.wall, after.events - before.events
    updates = sum(later.numbers) - sum(seen.numbers) or later.messages - seen.messages
    cpu = after.cpu - before.cpu - (0 if idle is None else idle.cpu * events)
    return Outcome(
        rows=later.rows,
        events=events / wall,
        updates=updates / wall,
        cpu=cpu / events if idle is None else cpu / max(updates, 1) * 1000 + notebook.told(_GLANCE, float),
        bytes=(later.bytes - seen.bytes) / max(updates, 1),
        share=(sum(later.draws) - sum(seen.draws)) / max(updates, 1),
        late=statistics.median(took.late or [0]),
        latest=statistics.quantiles(took.late or [0, 0], n=100)[-1],
        painted=statistics.median([one for one in took.painted if one > _NOTHING_DRAWN] or [0]),
        load=after.load,
        pointed=pointed,
    )


def _told(page: "Page", script: str, kind: type[T]) -> T:
    return msgspec.json.decode(page.evaluate(script), type=kind)


def _report(options: argparse.Namespace, first: Sequence[float], busy: Outcome, hour: Outcome) -> str:
    asked = ("", f"{_RATE} a chart", "< 2", "< 20", "> 0.9", "< 0.2", "", "", "< 50")
    head = ("shown", "updates a second", "ms of processor an update", "kB an update", "share drawn", "lag, s")
    head += ("lag, 99th percentile", "ms of the browser a frame", "ms from pointer to values (95th percentile)")
    rows = [_row("asked", asked[1:])]
    rows += [_row(name, _numbers(one)) for name, one in (("5 minutes", busy), (f"{hour.rows:,} points", hour))]
    kinds = ", ".join(name.rpartition(":")[2] for name in options.charts)
    made = figures.setting("jupyterlab", "ipykernel", "anywidget", "playwright")
    said = (
        f"{made}; {kinds} at {_RATE} updates a second, {busy.events:,.0f} messages a second received; load of the "
        f"machine {busy.load:.1f}.\n\nFrom running the cell to all charts drawn: {first[0]:.2f} s with what is "
        f"imported for the first time, {statistics.median(first[1:]):.2f} s after that (asked: 1.5)."
    )
    return f"{said}\n\n{figures.table(head, rows)}"


def _row(name: str, cells: Sequence[object]) -> tuple[object, ...]:
    return (name, *cells)


def _numbers(one: Outcome) -> Sequence[str]:
    return (
        f"{one.updates:.1f}",
        f"{one.cpu:.2f}",
        f"{one.bytes / 1000:.1f}",
        f"{one.share:.2f}",
        f"{one.late:.3f}",
        f"{one.latest:.3f}",
        f"{one.painted:.1f}",
        f"{statistics.median(one.pointed):.0f} ({statistics.quantiles(one.pointed, n=20)[-1]:.0f})",
    )


def _soak(desk: Desk, options: argparse.Namespace) -> str:
    heaps: list[tuple[float, float]] = []
    sizes: list[tuple[float, float]] = []
    loads: list[float] = []
    with _shown(desk, options) as notebook:
        _first(notebook, len(options.charts))
        while not heaps or heaps[-1][0] - heaps[0][0] < options.soak * 60:
            notebook.page.wait_for_timeout(5000)
            now = notebook.told(_NOW, Now)
            heaps.append((now.wall, float(notebook.page.evaluate(_HEAP))))
            sizes.append((now.wall, now.rss))
            loads.append(now.load)
    made = figures.setting("jupyterlab", "ipykernel", "anywidget")
    rows = [
        (name, f"{some[0][1]:.0f}", f"{some[len(some) // 2][1]:.0f}", f"{some[-1][1]:.0f}", f"{slope(some):+.1f}")
        for name, some in (("JavaScript of the page", heaps), ("kernel", sizes))
    ]
    head = ("memory, MB", "at first", "half way", "at last", "trend of the second half, MB in 10 minutes")
    text = f"{made}; {options.soak:g} minutes, load of the machine {statistics.mean(loads):.1f}"
    return f"{text}:\n\n{figures.table(head, rows)}"


if __name__ == "__main__":
    main()
