"""Bids, asks and mids look different to every eye, and their numbers can be read."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from support.eyes import SIGHTS, apart_1976, apart_2000, contrast, lab

from pmlive.analysis.palette import DARK, LIGHT, Palette
from pmlive.widgets.canvas import script

_PACKAGE = Path(__file__).parents[1] / "pmlive"
# The lightest and the darkest backgrounds of cells in JupyterLab's themes, and that of VS Code's dark one.
_GROUNDS = {"light": (LIGHT, ("#ffffff",)), "dark": (DARK, ("#212121", "#111111", "#1e1e1e"))}


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        # Of the data that Sharma, Wu and Dalal published in 2005 to test programs with.
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((50.0, 2.5, 0.0), (61.0, -5.0, 29.0), 22.8977),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_differences_are_those_of_published_pairs(
    one: tuple[float, ...], other: tuple[float, ...], difference: float
) -> None:
    assert apart_2000(np.array(one), np.array(other)) == pytest.approx(difference, abs=5e-5)
    assert apart_2000(np.array(other), np.array(one)) == pytest.approx(difference, abs=5e-5)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_bid_ask_and_mid_are_30_apart_for_every_eye(palette: Palette, sight: str) -> None:
    seen = [lab(colour, SIGHTS[sight]) for colour in (palette.bid, palette.ask, palette.mid)]

    assert min(apart_2000(*pair) for pair in combinations(seen, 2)) >= 30
    assert min(apart_1976(*pair) for pair in combinations(seen, 2)) >= 30


@pytest.mark.parametrize("theme", _GROUNDS)
def test_text_is_read_on_the_background_of_its_theme(theme: str) -> None:
    palette, grounds = _GROUNDS[theme]

    texts = (palette.bid, palette.ask, palette.mid, palette.text, palette.quiet)
    assert min(contrast(text, ground) for text in texts for ground in grounds) >= 4.5


def test_the_contrast_is_that_of_the_web() -> None:
    assert contrast("white", "black") == pytest.approx(21.0)
    assert contrast("#767676", "white") == pytest.approx(4.54, abs=0.01)


def test_no_colour_is_written_anywhere_else() -> None:
    """Greys of papers and the red of errors aside, which are nobody else's."""
    files = [*_PACKAGE.glob("widgets/**/*.py"), *_PACKAGE.glob("widgets/js/*.js")]
    ours = {colour[:7].lower() for palette in (LIGHT, DARK) for colour in _colours(str(palette))}

    written = {colour.lower() for path in files for colour in _colours(path.read_text("utf-8"))}

    assert len(ours) > 10
    assert written & (ours - {"#ffffff"}) == set()
    assert {colour for colour in written if len(set(re.findall("..", colour[1:7]))) > 1} <= {"#c62828"}


def test_scripts_have_the_colours_of_the_figures() -> None:
    code = script("theme")

    assert all(f'"{colour}"' in code for palette in (LIGHT, DARK) for colour in _colours(str(palette)))


def _colours(text: str) -> list[str]:
    return re.findall(r"#[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?\b", text)
