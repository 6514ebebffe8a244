"""Make the picture of the dashboard that the README shows: `python tests/browser/picture.py` (in the folder above)."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.lab import chromium, serving
from support.notebook import Desk, counting

_TO = Path(__file__).parents[2] / "notebooks" / "images"
_SHOW = """
import pmlive as pm

live = pm.Manager(venue="sim")
for market in live.sim.markets:
    live.watch(market.slug)
live.record("tonight")
live.dashboard()
"""


def main() -> None:
    """Show a dashboard for some minutes, cut its connection once, and keep its picture in both themes."""
    _TO.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server, chromium() as browser:
        desk = Desk(counting(browser, width=1580, height=1500), server)
        desk.begin()
        notebook = desk.open(_SHOW.strip())
        desk.page.evaluate("async () => { await jupyterapp.commands.execute('application:toggle-left-area'); }")
        notebook.run(0)
        desk.page.wait_for_timeout(100_000)
        notebook.ask("live.sim.fault('refuse', channel='market', number=503, seconds=6); live.sim.fault('drop')")
        desk.page.wait_for_timeout(100_000)
        shown = desk.page.locator(".jp-OutputArea-output:has([data-widget])").first
        shown.screenshot(path=_TO / "dashboard.png")
        desk.page.evaluate("jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
        desk.page.wait_for_timeout(5_000)
        shown.screenshot(path=_TO.parent.parent / ".artifacts" / "dashboard-dark.png")
        desk.close()


if __name__ == "__main__":
    main()
