"""Make the moving picture of the dashboard that the README shows: `python tests/browser/picture.py`, from the root.

Prices move for a while, the connection is cut, and comes back. Each frame is what the browser shows at that time.
"""

import io
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.lab import chromium, serving
from support.notebook import Desk, Notebook, counting

_TO = Path(__file__).parents[2] / "notebooks" / "images" / "dashboard.gif"
_SHOW = """
import pmlive as pm

live = pm.Manager(venue="sim")
for market in live.sim.markets:
    live.watch(market.slug)
live.record("tonight")
live.dashboard()
"""
_CUT = "live.sim.fault('refuse', channel='market', number=503, seconds=4); live.sim.fault('drop')"

# The charts and the ladder, without the tables under them.
_SIZE = (860, 490)
_COLOURS = 48
_EVERY_MS = 500
_BEFORE, _AFTER = 6, 14
# Long enough that charts over five minutes have something to show.
_WARM_MS = 120_000
_MOST_BYTES = 1_000_000


def main() -> None:
    """Record the dashboard, in the light theme.

    Raises:
        ValueError: the picture is larger than a page should have to load.
    """
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server, chromium() as browser:
        desk = Desk(counting(browser, width=1280, height=1500), server)
        desk.begin()
        notebook = desk.open(_SHOW.strip())
        desk.page.evaluate("async () => { await jupyterapp.commands.execute('application:toggle-left-area'); }")
        notebook.run(0)
        desk.page.wait_for_timeout(_WARM_MS)
        _save(list(_frames(desk, notebook)))
        desk.close()
    if _TO.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{_TO} has {_TO.stat().st_size:,} bytes; at most {_MOST_BYTES:,} are wanted")


def _frames(desk: Desk, notebook: Notebook) -> Generator[Image.Image]:
    """Take pictures before and after the connection is cut."""
    shown = desk.page.locator(".jp-OutputArea-output:has([data-widget])").first
    for at in range(_BEFORE + _AFTER):
        if at == _BEFORE:
            notebook.ask(_CUT)
        picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
        upper = (0, 0, picture.width, round(picture.width * _SIZE[1] / _SIZE[0]))
        yield picture.resize(_SIZE, Image.Resampling.LANCZOS, box=upper)
        desk.page.wait_for_timeout(_EVERY_MS)


def _save(frames: Sequence[Image.Image]) -> None:
    """Write the frames with colours that all of them share, so that a frame stores only what changed."""
    _TO.parent.mkdir(parents=True, exist_ok=True)
    palette = frames[-1].quantize(_COLOURS, Image.Quantize.MEDIANCUT)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    first.save(_TO, save_all=True, append_images=others, duration=_EVERY_MS, loop=0, optimize=True)


if __name__ == "__main__":
    main()
