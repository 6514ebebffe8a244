"""The places in a notebook where something is displayed, which keep a picture when it ends.

A saved notebook shows a widget no more: whoever opens it gets an error in its place. So what is displayed can be
replaced by a picture, which every reader of notebooks shows.
"""

import sys
from base64 import b64encode
from typing import Protocol, cast

__all__ = ["Bundle", "Shown", "png_bundle", "widget_bundle"]

Bundle = dict[str, object]


class Handle(Protocol):
    """What IPython gives for something displayed."""

    def update(self, obj: Bundle, *, raw: bool) -> None:
        """Show something else in its place."""
        ...


class Shown:
    """Where one object is displayed."""

    def __init__(self) -> None:
        self._handles: list[Handle] = []

    def __bool__(self) -> bool:
        """Tell whether it is displayed anywhere; at the very end of the program nothing can be drawn any more."""
        return bool(self._handles) and not sys.is_finalizing()

    def publish(self, bundle: Bundle) -> None:
        """Display it once more."""
        from IPython.display import display  # pyright: ignore[reportUnknownVariableType]  # IPython is half typed

        handle = display(bundle, raw=True, display_id=True)
        if handle is not None:
            self._handles.append(cast("Handle", handle))

    def freeze(self, bundle: Bundle) -> None:
        """Leave a picture wherever it is displayed."""
        while self._handles:
            self._handles.pop().update(bundle, raw=True)


def png_bundle(png: bytes, text: str) -> Bundle:
    """Bundle a picture with the words for those who see none."""
    return {"image/png": b64encode(png).decode("ascii"), "text/plain": text}


def widget_bundle(model_id: str) -> Bundle:
    """Bundle the view of a widget."""
    view = {"version_major": 2, "version_minor": 0, "model_id": model_id}
    return {"application/vnd.jupyter.widget-view+json": view}
