"""Untrusted text: titles, outcomes and slugs of markets, which strangers wrote."""

import re
import unicodedata

__all__ = ["clean"]

# Controls, formats (bidirectional, zero-width, tags), surrogates, private use, line and paragraph separators.
_REMOVED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Variation selectors and fillers, which carry or show nothing although their category says otherwise.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def clean(text: str, limit: int = 200) -> str:
    r"""Make a stranger's text one visible line of at most ``limit`` characters.

    It is still untrusted: escape it in HTML, and never build a path from it.

    >>> clean("Will\n\u202eX\u200b win?\x1b[2J")
    'Will X win?[2J'
    """
    # Nothing beyond this can be in the result unless most of it is invisible; it keeps hostile lengths cheap.
    visible = " ".join(text[: 50 * limit].split())
    if not (visible.isascii() and visible.isprintable()):
        line = " ".join(_INVISIBLE.sub("", visible).split())
        visible = "".join(letter for letter in line if unicodedata.category(letter) not in _REMOVED)
        visible = " ".join(visible.split())
    return visible if len(visible) <= limit else f"{visible[: limit - 1].rstrip()}…"
