"""The colours of bids, asks and what else is drawn, the same in notebooks, in the browser and on paper.

Any two of ``bid``, ``ask`` and ``mid`` differ by 30 or more, by CIEDE2000 and by CIE76, for usual eyes and eyes that
lack one of the three kinds of cones (Machado, Oliveira and Fernandes 2009). On the backgrounds of their theme these
three, ``text`` and ``quiet`` have a contrast of at least 4.5 to 1, as WCAG 2.2 demands of text. Colours never tell
something alone: places, shapes or words do, too.
"""

import msgspec

__all__ = ["DARK", "LIGHT", "Palette", "over_white"]


class Palette(msgspec.Struct, frozen=True, kw_only=True):
    """Colours as ``#rrggbb``, or ``#rrggbbaa`` where what is below shows through.

    ``band`` is between bid and ask, ``gap`` where nothing is known, ``doubt`` over a chart that cannot be trusted.
    ``text``, ``quiet`` and ``ground`` (the background) are taken where a page has no colours of its own. ``lines`` are
    of the outcomes in one chart, which have a name at their end and, after the last of these, another pattern.
    """

    bid: str
    ask: str
    mid: str
    band: str
    gap: str
    doubt: str
    grid: str
    text: str
    quiet: str
    ground: str
    lines: tuple[str, ...]


LIGHT = Palette(
    bid="#2b6be0",
    ask="#c24a00",
    mid="#1e0034",
    band="#1e003417",
    gap="#5c5c6b47",
    doubt="#e9e9e9",
    grid="#00000014",
    text="#222222",
    quiet="#616161",
    ground="#ffffff",
    lines=("#1f4e79", "#d96f1e", "#10a898", "#502818", "#b088e8"),
)
DARK = Palette(
    bid="#5f93f0",
    ask="#e8791a",
    mid="#ffffff",
    band="#ffffff1f",
    gap="#b4b4c85c",
    doubt="#2b2b2b",
    grid="#ffffff1a",
    text="#e0e0e0",
    quiet="#9e9e9e",
    ground="#111111",
    lines=("#7fb2e5", "#f0955a", "#3fd0bd", "#d7a58a", "#c8a8f5"),
)


def over_white(colour: str) -> str:
    """Return a colour that shows what is below as it is seen on white.

    >>> over_white("#00000080"), over_white("#ff0000")
    ('#7f7f7f', '#ff0000')
    """
    red, green, blue, alpha = bytes.fromhex(colour[1:].ljust(8, "f"))
    return "#" + "".join(f"{(part * alpha + 255 * (255 - alpha)) // 255:02x}" for part in (red, green, blue))
