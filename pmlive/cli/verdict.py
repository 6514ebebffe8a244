"""What one check of ``pmlive doctor`` found."""

from typing import Literal

import msgspec

__all__ = ["Verdict"]


class Verdict(msgspec.Struct, frozen=True):
    """One check; ``advice`` says what to do about a warning or a problem."""

    name: str
    state: Literal["ok", "warning", "problem"]
    found: str
    advice: str = ""
