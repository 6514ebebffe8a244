"""The figure that shows when a recording could be trusted."""

import struct

import msgspec
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from test_recording_quality import gapped

import pmlive as pm
from pmlive.analysis.palette import LIGHT
from pmlive.recording import Quality
from pmlive.widgets.figures import png

HOSTILE = "<b>$\\frac{1}{0}$</b> \N{PILE OF POO} " * 9


def bars(found: Quality) -> list[tuple[str, float]]:
    """Give colour and seconds of each bar that is drawn."""
    (axes,) = found.figure().axes
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [(to_hex(box.get_facecolor()), round(box.get_width() * 86_400, 3)) for box in boxes]


def test_each_interval_is_a_bar_whose_colour_tells_whether_it_can_be_trusted() -> None:
    found = gapped(("disk", 2000, 3000, None), ("silence", 7000, 7500, "1"))

    assert sorted(bars(found)) == sorted(
        [(LIGHT.bid, 2.0), (LIGHT.bid, 4.0), (LIGHT.bid, 2.5), (LIGHT.ask, 1.0), (LIGHT.ask, 0.5)]
    )


def test_faults_are_named_with_their_length_and_tokens_with_their_share() -> None:
    (axes,) = pm.open_recording(pm.sample()).quality().figure().axes

    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == 8
    assert all(" - Yes  " in label or " - No  " in label for label in labels)
    assert all(label.endswith("%") for label in labels)
    (said,) = [text.get_text() for text in axes.texts]
    assert said.startswith("disconnect, ")
    assert said.endswith(" s")


@pytest.mark.parametrize("tokens", [0, 1, 200])
def test_it_is_drawn_however_many_tokens_there_are_and_whatever_they_are_called(tokens: int) -> None:
    found = gapped(("disk", 2000, 3000, None))
    several = [msgspec.structs.replace(found.tokens[0], label=f"{HOSTILE} - Yes") for _ in range(tokens)]

    picture = png(msgspec.structs.replace(found, tokens=several).figure())

    width, height = struct.unpack(">II", picture[16:24])
    assert width == 900
    assert height < 1300
