"""What is left of live charts in a real JupyterLab when they end, and when a kernel does."""

import json
from pathlib import Path
from typing import cast

import pytest
from support.cells import BEGIN, SHOW, until_coloured
from support.notebook import Desk, Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# What a kernel holds that a dashboard could leave behind.
HOLDS = """
import json, threading, comm, psutil
from ipywidgets.widgets.widget import _instances
print(json.dumps({
    "threads": sorted(thread.name for thread in threading.enumerate()),
    "sockets": len(psutil.Process().net_connections("all")),
    "widgets": len(_instances),
    "comms": len(comm.get_comm_manager().comms),
}))
"""
PICTURE = ".jp-OutputArea-output img[src^='data:image/png']"


def held(notebook: Notebook) -> dict[str, object]:
    return notebook.told(HOLDS, dict[str, object])


def shown(desk: Desk, *more: str) -> Notebook:
    notebook = desk.open(BEGIN, SHOW, *more)
    notebook.run(0, 1)
    until_coloured(notebook)
    return notebook


def test_nothing_is_left_of_a_dashboard_that_was_closed_or_shown_again(desk: Desk) -> None:
    notebook = shown(desk, "dash.close()")
    # What is imported and opened once stays: the first dashboard is not counted.
    notebook.run(2)
    none = held(notebook)
    assert "pmlive charts" not in json.dumps(none)
    notebook.until(lambda: notebook.models() == 0, "that the page let go of every widget")

    notebook.run(1)
    until_coloured(notebook)
    one, models = held(notebook), notebook.models()
    assert models > 40
    for _ in range(2):
        notebook.run(1)
        until_coloured(notebook)
    assert held(notebook) == one
    notebook.until(lambda: notebook.models() == models, "that the page let go of the widgets before")
    assert len(notebook.page.query_selector_all("[data-widget=PriceChart]")) == 1

    notebook.run(2)
    assert held(notebook) == none
    notebook.until(lambda: notebook.models() == 0, "that the page let go of every widget")


def test_a_closed_dashboard_is_a_picture_also_when_it_is_opened_again(desk: Desk, tmp_path: Path) -> None:
    notebook = shown(desk, "live.close()")

    notebook.run(2)
    notebook.until(lambda: notebook.page.query_selector(PICTURE), "that there is a picture in its place")
    assert notebook.widget("PriceChart").state is None
    picture, nothing = (cast("dict[str, object]", output["data"]) for output in notebook.outputs(1))
    assert set(picture) == {"image/png", "text/plain"}
    assert not any(nothing.values())

    notebook.do("docmanager:save")
    path = desk.server.folder / notebook.name
    notebook.until(lambda: "image/png" in path.read_text(), "that it is saved")
    desk.close()
    again = desk.open_again(notebook.name)
    again.until(lambda: again.page.query_selector(PICTURE), "that the picture is there")
    assert "Error displaying widget" not in again.page.inner_text("body")

    html = as_html(path, tmp_path)
    assert "data:image/png;base64," in html
    assert "widget-view" not in html


def test_a_dashboard_that_nobody_closed_is_a_picture_once_its_kernel_is_gone(desk: Desk, tmp_path: Path) -> None:
    notebook = shown(desk)
    hidden = notebook.page.query_selector(PICTURE)
    assert hidden is not None
    assert not hidden.is_visible()

    def pictures() -> set[str]:
        return {str(cast("dict[str, object]", output["data"]).get("image/png")) for output in notebook.outputs(1)}

    first = pictures()
    notebook.until(lambda: pictures() != first, "that the picture is drawn again")
    notebook.do("docmanager:save")
    path = desk.server.folder / notebook.name
    notebook.until(lambda: "image/png" in path.read_text(), "that it is saved")
    desk.close()

    again = desk.open_again(notebook.name)

    again.until(lambda: "Error displaying widget" in again.page.inner_text("body"), "that there is no widget")
    (picture,) = again.page.query_selector_all(PICTURE)
    assert picture.is_visible()
    assert as_html(path, tmp_path).count('src="data:image/png;base64,') == 1
    # JupyterLab tells of the widget that is gone on the console, too.
    desk.watch.errors = [error for error in desk.watch.errors if "widget model not found" not in error]


def as_html(path: Path, folder: Path) -> str:
    """Turn a notebook into a page that anybody can read."""
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter().from_filename(str(path))
    (folder / "page.html").write_text(page)
    return page


def test_a_restarted_kernel_leaves_dead_charts_that_do_no_harm(desk: Desk) -> None:
    notebook = shown(desk)

    notebook.restart()
    # Dead charts are drawn anew, too, when their room changes.
    notebook.page.set_viewport_size({"width": 1300, "height": 1200})
    chart = notebook.widget("PriceChart")
    notebook.until(lambda: "the kernel behind this has ended" in chart.text, "that the chart says that it is dead")
    assert chart.pixels("mid") > 100

    notebook.run(0, 1)

    until_coloured(notebook)
    notebook.widget("PriceChart").until_drawn(8)
    notebook.page.set_viewport_size({"width": 1400, "height": 1300})
