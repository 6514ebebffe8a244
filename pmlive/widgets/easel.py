"""Pictures of a chart that is drawn again and again: what stands still is drawn once, and the rest over it."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import math
from collections.abc import Callable
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pmlive.widgets.drawings import Drawing, Extent
from pmlive.widgets.figures import DPI, DRAWING, SIZE, entitle, reach
from pmlive.widgets.views import View

__all__ = ["Easel", "settled"]

# Left, bottom, width and height of the axes: to find out what the labels need takes longer than all the rest.
_PLACE = (0.085, 0.17, 0.905, 0.72)
# The axes reach a little further than what is shown, so that they can stand still for a while: ahead by a share of the
# time, at least some seconds (in days, as matplotlib counts), and of prices to either side.
_AHEAD, _AT_LEAST, _AROUND = 1 / 20, 5 / 86_400, 0.1
# An eighth of the bytes of all colours, and sooner packed; nobody sees it in lines and shades of three colours.
_COLOURS, _OCTREE = 64, 2
_PACKING = 1


class Easel:
    """The picture of one chart; any thread may draw it, one at a time.

    Args:
        make: makes the drawing on its axes.
        over_time: whether it moves to the left as time passes.
    """

    def __init__(self, make: Callable[[Axes], Drawing], *, over_time: bool) -> None:
        self._figure = Figure(figsize=SIZE, dpi=DPI)
        self._canvas = FigureCanvasAgg(self._figure)
        self._axes = self._figure.add_axes(_PLACE)
        self._drawing = make(self._axes)
        self._over_time = over_time
        self._extent: Extent | None = None
        self._still: tuple[object, ...] = ()
        self._background: object = None
        for artist in self._drawing.artists:
            # What is animated is left out when the canvas is drawn.
            artist.set_animated(True)

    def draw(self, view: View) -> bytes:
        """Draw a view as PNG."""
        with DRAWING:
            self._extent = self._settle(self._drawing.show(view))
            still = (self._extent, view["label"], view["doubt"])
            if still != self._still:
                self._draw_still(view, self._extent)
                self._still = still
            self._canvas.restore_region(self._background)
            for artist in sorted(self._drawing.artists, key=lambda artist: artist.get_zorder()):
                self._axes.draw_artist(artist)
            return _png(np.asarray(self._canvas.buffer_rgba()))

    def _draw_still(self, view: View, extent: Extent) -> None:
        reach(self._axes, extent)
        entitle(self._axes, view)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self._figure.bbox)

    def _settle(self, wanted: Extent) -> Extent:
        before = self._extent or _NOWHERE
        wide, tall = wanted.right - wanted.left, wanted.high - wanted.low
        beside = (0.0, max(_AHEAD * wide, _AT_LEAST)) if self._over_time else (_AROUND * wide, _AROUND * wide)
        # There are no fewer shares than none.
        around = (_AROUND * tall if wanted.low else 0.0, _AROUND * tall)
        left, right = settled((before.left, before.right), (wanted.left, wanted.right), beside)
        low, high = settled((before.low, before.high), (wanted.low, wanted.high), around)
        return Extent(left, right, low, high)


_NOWHERE = Extent(math.nan, math.nan, math.nan, math.nan)


def settled(before: tuple[float, float], wanted: tuple[float, float], pads: tuple[float, float]) -> tuple[float, float]:
    """Let axes stand still while they show what is wanted, and not much more.

    Args:
        before: how far they reach.
        wanted: how far they should.
        pads: how much further they reach at either end, once they must move.

    >>> settled((0.0, 12.0), (0.0, 11.0), (0.0, 1.0)), settled((0.0, 12.0), (5.0, 15.0), (0.0, 1.0))
    ((0.0, 12.0), (5.0, 16.0))
    """
    low, high = wanted
    if before[0] <= low and high <= before[1] and before[1] - before[0] <= high - low + 3 * sum(pads):
        return before
    return low - pads[0], high + pads[1]


def _png(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    picture = Image.fromarray(pixels).convert("RGB").quantize(_COLOURS, method=_OCTREE, dither=Image.Dither.NONE)
    file = BytesIO()
    picture.save(file, "png", compress_level=_PACKING)
    return file.getvalue()
