"""What a notebook shows of a dashboard that was never closed, once a program has run and saved it."""

# nbformat and nbclient say little of their types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeArgument=false

import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from support.kernel import Kernel, kernel

BEGIN = "import pmlive as pm\nreplay = pm.open_recording(pm.sample()).replay(paused=True, speed='max')"
SHOWS = {
    "canvas": "dashboard = replay.dashboard()\ndashboard",
    "image": "dashboard = replay.dashboard(charts='image')\ndashboard",
    "chart": "from pmlive.widgets import PriceChart\nchart = PriceChart(replay)\nchart",
}
PLAY = "replay.resume()\nreplay.wait()\nreplay.position"
VIEW = "application/vnd.jupyter.widget-view+json"
PNG = "image/png"


def notebook(*cells: str) -> Any:  # noqa: ANN401  # nbformat says nothing of its types
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def shown_by(book: Any) -> dict[str, str]:  # noqa: ANN401  # as above
    """Return what the second cell displays."""
    (output,) = [one for one in book["cells"][1]["outputs"] if one["output_type"] == "display_data"]
    return {kind: "".join(said) for kind, said in output["data"].items()}


def executed(*cells: str) -> dict[str, str]:
    return shown_by(NotebookClient(notebook(*cells), timeout=100, kernel_name="python3").execute())


@pytest.mark.quick(1)
@pytest.mark.parametrize("show", SHOWS)
def test_what_is_saved_is_what_there_was_at_the_end(show: str) -> None:
    first = executed(BEGIN, SHOWS[show])
    last = executed(BEGIN, SHOWS[show], PLAY)

    # A widget that is saved would be an error message, or nothing at all, to whoever opens it.
    assert set(first) == set(last) == {PNG, "text/plain"}
    assert b64decode(last[PNG]).startswith(b"\x89PNG")
    assert first[PNG] != last[PNG]
    if show != "chart":
        assert "100 % played, finished" in last["text/plain"]
        assert "100 % played" not in first["text/plain"]


@pytest.mark.slow
def test_what_happened_in_the_cell_itself_is_saved_too() -> None:
    shown = executed(BEGIN, f"from IPython.display import display\ndisplay(replay.dashboard())\n{PLAY}")

    assert "100 % played, finished" in shown["text/plain"]


def test_what_is_closed_stays_as_it_was_closed() -> None:
    shown = executed(BEGIN, SHOWS["canvas"], "dashboard.close()", PLAY)

    assert set(shown) == {PNG, "text/plain"}
    assert "100 % played" not in shown["text/plain"]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Generator[Kernel]:
    """Start a kernel with a person before it; each test has a replay and a dashboard of its own in it."""
    with kernel(tmp_path_factory.mktemp("notebook")) as running:
        yield running


def test_a_front_end_with_a_person_before_it_is_shown_the_widget_once_behind_its_picture(started: Kernel) -> None:
    for cell in (BEGIN, SHOWS["canvas"], PLAY):
        done = started.end(started.begin(cell))
        shown, again = done.shown("display_data"), done.shown("update_display_data")

        expected = [{PNG, "text/plain"}, {VIEW, "text/html", "text/plain"}] if cell == SHOWS["canvas"] else []
        assert [set(data) for data in shown] == expected
        # To display a widget anew would make the page build it again.
        assert not any(VIEW in data for data in again)
    started.run("replay.close()")


@pytest.mark.slow
def test_a_page_that_cannot_hide_the_picture_shows_the_widget_alone_until_it_is_closed(started: Kernel) -> None:
    tells = 'dashboard.price._handle_custom_msg({"kind": "elsewhere", "view": "0"}, [])'
    for cell in (BEGIN, SHOWS["canvas"]):
        started.run(cell)

    (told,) = started.end(started.begin(tells)).shown("update_display_data")
    after = started.end(started.begin("dashboard.close()")).shown("update_display_data")
    started.run("replay.close()")

    assert not any(told.values())
    assert [set(data) for data in after] == [{PNG, "text/plain"}]


def test_vs_code_is_given_picture_and_widget_as_one(tmp_path: Path) -> None:
    with kernel(tmp_path) as started:
        started.run(f"__vsc_ipynb_file__ = 'a.ipynb'\n{BEGIN}")
        shown = started.end(started.begin(SHOWS["canvas"])).shown("display_data")

    assert [set(data) for data in shown] == [{VIEW, PNG, "text/plain"}]


@pytest.mark.skipif(find_spec("papermill") is None, reason="papermill is not installed")
def test_papermill_saves_the_last_picture(tmp_path: Path) -> None:
    (tmp_path / "in.ipynb").write_text(nbformat.writes(notebook(BEGIN, SHOWS["canvas"], PLAY)))

    run("papermill", "in.ipynb", "out.ipynb", "--no-progress-bar", "-k", "python3", folder=tmp_path)

    shown = shown_by(json.loads((tmp_path / "out.ipynb").read_text()))
    assert set(shown) == {PNG, "text/plain"}
    assert "100 % played, finished" in shown["text/plain"]


@pytest.mark.skipif(find_spec("nbconvert") is None, reason="nbconvert is not installed")
def test_a_page_that_nbconvert_makes_has_the_picture_in_it(tmp_path: Path) -> None:
    (tmp_path / "in.ipynb").write_text(nbformat.writes(notebook(BEGIN, SHOWS["canvas"], PLAY)))

    run("nbconvert", "--execute", "--to", "html", "in.ipynb", folder=tmp_path)

    page = (tmp_path / "in.html").read_text()
    assert page.count('<img alt="') == 1
    assert "data:image/png;base64," in page
    assert f'<script type="{VIEW}">' not in page


def run(module: str, *arguments: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True, cwd=folder, timeout=150)
