"""Views as messages: what JSON can hold, and all arrays in one buffer."""

import math
from collections.abc import Collection
from typing import TypedDict

import numpy as np

from pmlive.widgets.views import Numbers, View

__all__ = ["Packed", "pack"]


class Packed(TypedDict):
    """Values by name, and names, rows and columns of the arrays that follow each other in ``buffer``."""

    values: dict[str, object]
    arrays: list[tuple[str, int, int]]
    buffer: bytes


def pack(view: View, *, without: Collection[str] = ()) -> Packed:
    """Pack a view, or what it has beside some of its names.

    >>> pack({"label": "Yes", "times": np.array([1.0, 2.0])})["arrays"]
    [('times', 2, 1)]
    """
    values: dict[str, object] = {}
    arrays: list[tuple[str, int, int]] = []
    buffer = bytearray()
    for name, value in view.items():
        if name in without:
            continue
        if isinstance(value, np.ndarray):
            numbers: Numbers = np.ascontiguousarray(value, dtype=np.float64)
            arrays.append((name, numbers.shape[0], math.prod(numbers.shape[1:])))
            buffer += numbers.tobytes()
        else:
            values[name] = value
    return {"values": values, "arrays": arrays, "buffer": bytes(buffer)}
