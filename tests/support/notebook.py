"""A notebook as somebody sees it in a browser: its cells, its kernel, and the widgets in it."""

import json
from ast import literal_eval
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec
from support.lab import Server, Watch
from support.waiting import Budget

from pmlive.analysis.palette import DARK, LIGHT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["COLOURS", "SHOWN", "Desk", "Notebook", "Widget", "counting", "until"]

T = TypeVar("T")

# The colours of the light theme and one of the dark.
COLOURS: Mapping[str, tuple[int, int, int]] = {
    name: (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))
    for name, colour in (("bid", LIGHT.bid), ("ask", LIGHT.ask), ("mid", LIGHT.mid), ("dark bid", DARK.bid))
}
SHOWN = ("PriceChart", "HeatMap", "DepthChart", "Ladder", "Tape", "StatusPanel", "RecordingPanel")
# Waits end early; these are for a machine that has much else to do.
_PATIENCE = 120.0
_STEP = 100
_numbers = count(1)

# Counts what kernels send to the page, and keeps each answer to what was asked of them.
_BEFORE = """
window.received = { messages: 0, bytes: 0 };
window.answers = {};
window.WebSocket = class extends window.WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      window.received.messages += 1;
      window.received.bytes += data.size ?? data.byteLength ?? data.length;
    });
  }
};
"""
_KERNEL = "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel"
# What it prints comes with the reply, since a server may drop what comes otherwise.
_ASK = f"""([id, code]) => {{
  const said = "_said.getvalue()";
  const future = {_KERNEL}.requestExecute({{ code, store_history: false, user_expressions: {{ said }} }});
  future.onReply = ({{ content }}) => {{
    const kept = content.user_expressions?.said?.data?.["text/plain"];
    window.answers[id] = kept ?? JSON.stringify(`${{content.ename}}: ${{content.evalue}}`);
  }};
}}"""
_KEEP = """
import contextlib as _contextlib, io as _io
_said = _io.StringIO()
with _contextlib.redirect_stdout(_said):
    exec({code!r}, globals())
"""
_PIXELS = """([widget, colour]) => {
  const canvas = document.querySelectorAll(widget.selector)[widget.at]?.querySelector("canvas");
  if (!canvas || !canvas.width) return 0;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] > 200 && colour.every((part, of) => Math.abs(data[at + of] - part) < 24)) found += 1;
  }
  return found;
}"""
_ANEW = """async ({ selector, at }) => {
  const el = document.querySelectorAll(selector)[at];
  const canvas = el.querySelector("canvas");
  const pixels = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const before = pixels();
  el.followed.wholes += 1;
  const { draws } = el.dataset;
  // Whoever draws looks after any change of the theme, also one that changes nothing.
  document.body.dataset.vscodeThemeKind = "vscode-light";
  while (el.dataset.draws === draws) await new Promise(requestAnimationFrame);
  delete document.body.dataset.vscodeThemeKind;
  let differ = 0;
  pixels().forEach((part, at) => { differ += Math.abs(part - before[at]) > 24; });
  return differ / before.length;
}"""
_STATE = """({ selector, at }) => {
  const el = document.querySelectorAll(selector)[at];
  if (!el) return null;
  const { number, values, series } = el.followed;
  const arrays = Object.fromEntries(Object.keys(series).map((name) => [name, [...el.followed.array(name)]]));
  const text = el.textContent;
  const { draws, doubt } = el.dataset;
  return JSON.stringify({ number, values, arrays, text, draws: Number(draws || 0), doubt });
}"""


_MODELS = """async () => {
  const { rendermime } = jupyterapp.shell.currentWidget.content;
  const renderer = rendermime.createRenderer("application/vnd.jupyter.widget-view+json");
  const manager = await renderer._manager.promise;
  return Object.keys(manager._models).length;
}"""


def until(page: "Page", condition: Callable[[], object], seconds: float = _PATIENCE, *, what: str) -> None:
    """Wait for something in a page, which is left alone in between."""
    budget = Budget(seconds, what)
    while not condition():
        budget.check()
        page.wait_for_timeout(_STEP)


class Widget:
    """One view of a widget of ours in a page."""

    def __init__(self, page: "Page", name: str, at: int = 0) -> None:
        self.page = page
        self._where = {"selector": f"[data-widget={name}]", "at": at}

    @property
    def state(self) -> dict[str, object] | None:
        """Give what it knows, and how often it was drawn; None where there is none."""
        found = cast("str | None", self.page.evaluate(_STATE, self._where))
        return None if found is None else json.loads(found)

    @property
    def draws(self) -> int:
        return cast("int", (self.state or {}).get("draws", 0))

    @property
    def doubt(self) -> str:
        return str((self.state or {}).get("doubt", ""))

    @property
    def arrays(self) -> dict[str, list[float]]:
        return cast("dict[str, list[float]]", (self.state or {}).get("arrays", {}))

    @property
    def text(self) -> str:
        return str((self.state or {}).get("text", ""))

    def pixels(self, colour: str) -> int:
        """Count the pixels of a colour."""
        return cast("int", self.page.evaluate(_PIXELS, [self._where, COLOURS[colour]]))

    def differs_anew(self) -> float:
        """Draw everything anew; give the share of the canvas that is then another colour."""
        return cast("float", self.page.evaluate(_ANEW, self._where))

    def until_drawn(self, times: int = 1) -> None:
        """Wait for so many more drawings."""
        before = self.draws
        until(self.page, lambda: self.draws >= before + times, what=f"that it is drawn {times} times")

    def until_still(self) -> None:
        """Wait until it is not drawn any more, at any rate of drawings that there is here."""

        def still() -> bool:
            before = self.draws
            self.page.wait_for_timeout(1500)
            return self.draws == before

        until(self.page, still, what="that it is drawn no more")


class Notebook:
    """An open notebook with its kernel; the page is one that has JupyterLab or Notebook in it."""

    def __init__(self, page: "Page", server: Server, name: str) -> None:
        self.page = page
        self.server = server
        self.name = name

    def until(self, condition: Callable[[], object], what: str) -> None:
        until(self.page, condition, what=what)

    def until_idle(self) -> None:
        status = f"() => {_KERNEL}?.status === 'idle'"
        until(self.page, lambda: self.page.evaluate(status), what="that the kernel is idle")

    # --- cells ---

    def run(self, *cells: int) -> None:
        """Run cells one after another, each to its end."""
        for cell in cells:
            number = self.start(cell)
            self.until(lambda at=number: self._answer(at) is not None, f"that cell {cell} ends")
            wrong = [one for one in self.outputs(cell) if one["output_type"] == "error"]
            assert not wrong, wrong

    def start(self, cell: int) -> int:
        """Let a cell begin to run."""
        number = next(_numbers)
        self.page.evaluate(
            "([at, id]) => { jupyterapp.shell.currentWidget.content.activeCellIndex = at;"
            "jupyterapp.commands.execute('notebook:run-cell').then(() => (window.answers[id] = 'done')); }",
            [cell, number],
        )
        return number

    def _answer(self, number: int) -> str | None:
        return cast("str | None", self.page.evaluate(f"() => window.answers[{number}] ?? null"))

    def do(self, command: str) -> None:
        """Start a command of the page."""
        self.page.evaluate("(command) => { jupyterapp.commands.execute(command); }", command)

    def prompt(self, cell: int) -> str:
        """Give what stands in brackets beside a cell: nothing, a number, or a star."""
        script = "(at) => jupyterapp.shell.currentWidget.content.widgets[at].promptNode?.textContent ?? ''"
        return str(self.page.evaluate(script, cell)).strip("[]: \N{NO-BREAK SPACE}")

    def outputs(self, cell: int) -> list[dict[str, object]]:
        """Give what a cell shows."""
        script = "(at) => jupyterapp.shell.currentWidget.content.widgets[at].model.sharedModel.toJSON().outputs"
        return cast("list[dict[str, object]]", self.page.evaluate(script, cell))

    def text(self, cell: int) -> str:
        return json.dumps(self.outputs(cell))

    # --- the kernel ---

    def ask(self, code: str) -> str:
        """Have the kernel run something beside the cells, and give what it printed."""
        number = next(_numbers)
        self.page.evaluate(_ASK, [number, _KEEP.format(code=code)])
        self.until(lambda: self._answer(number) is not None, f"an answer to {code!r}")
        return str(literal_eval(str(self._answer(number)))).strip()

    def given(self, expression: str) -> object:
        """Give the value of an expression in the kernel."""
        return json.loads(self.ask(f"import json as _json; print(_json.dumps({expression}))"))

    def told(self, code: str, kind: type[T]) -> T:
        """Have the kernel run what prints JSON, and give what it says."""
        return msgspec.json.decode(self.ask(code), type=kind)

    def restart(self) -> None:
        self.page.evaluate(f"async () => {{ await {_KERNEL}.restart(); }}")
        self.until_idle()

    # --- what is shown ---

    def widget(self, name: str, at: int = 0) -> Widget:
        return Widget(self.page, name, at)

    def plain(self, html: str) -> str:
        """Give the text of HTML as the page shows it."""
        script = "(html) => { const el = document.createElement('div'); el.innerHTML = html; return el.textContent; }"
        return str(self.page.evaluate(script, html))

    def models(self) -> int:
        """Count the widgets that the page keeps."""
        return cast("int", self.page.evaluate(_MODELS))


class Desk:
    """JupyterLab in a page that stays open, so that each notebook costs a kernel alone."""

    def __init__(self, page: "Page", server: Server) -> None:
        self.page = page
        self.server = server
        self.watch = Watch(page)

    def begin(self) -> None:
        """Load JupyterLab."""
        self.page.goto(f"{self.server.url}/lab?reset")
        self._until_there()

    def _until_there(self) -> None:
        script = "() => window.jupyterapp?.shell?.isEmpty?.('main') !== undefined && jupyterapp.status !== undefined"
        until(self.page, lambda: self.page.evaluate(script), what="that JupyterLab is there")
        self.page.evaluate("async () => { await jupyterapp.restored; }")

    def open(self, *cells: str) -> Notebook:
        """Write a notebook and open it, with a kernel of its own."""
        name = f"{next(_numbers)}.ipynb"
        self.server.write(name, *cells)
        return self.open_again(name)

    def open_again(self, name: str) -> Notebook:
        """Open a notebook that is there."""
        self.page.evaluate("(path) => { jupyterapp.commands.execute('docmanager:open', { path }); }", name)
        there = f"() => jupyterapp.shell.currentWidget?.context?.path === {name!r}"
        until(self.page, lambda: self.page.evaluate(there), what=f"that {name} is open")
        notebook = Notebook(self.page, self.server, name)
        notebook.until_idle()
        return notebook

    def reload(self, name: str) -> Notebook:
        """Load the page again, as somebody who presses F5, with a notebook that is open."""
        self.page.goto(f"{self.server.url}/lab/tree/{name}?reset")
        self._until_there()
        return self.open_again(name)

    def close(self) -> None:
        """Close every notebook without saving, and end its kernel."""
        self.page.evaluate(
            "async () => { await jupyterapp.serviceManager.sessions.shutdownAll();"
            "for (const one of [...jupyterapp.shell.widgets('main')]) {"
            "one.context && (one.context.model.dirty = false); one.dispose(); } }"
        )


def counting(browser: "Browser", *, width: int = 1400, height: int = 1300, scale: float = 1) -> "Page":
    """Open a page that counts what kernels send to it."""
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale)
    context.add_init_script(_BEFORE)
    page = context.new_page()
    page.set_default_timeout(_PATIENCE * 1000)
    return page
