"""The same charts in Notebook and in Voila, whose own pages have errors of their own on the console."""

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest
from support.cells import BEGIN, SHOW, until_coloured
from support.lab import Server, Watch
from support.notebook import Notebook, counting, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# Voila's own page asks for icons and for letters of formulas, and does without them.
_OF_VOILA = ("@fortawesome/fontawesome-free", "/ajax/libs/mathjax/")


@pytest.fixture
def page(browser: "Browser") -> "Generator[Page]":
    opened = counting(browser)
    yield opened
    opened.context.close()


def test_charts_move_in_notebook(page: "Page", server: Server) -> None:
    watch = Watch(page)
    server.write("classic.ipynb", BEGIN, SHOW)
    page.goto(f"{server.url}/notebooks/classic.ipynb")
    until(page, lambda: page.evaluate("() => window.jupyterapp?.shell?.currentWidget !== undefined"), what="Notebook")
    notebook = Notebook(page, server, "classic.ipynb")
    notebook.until_idle()

    notebook.run(0, 1)

    until_coloured(notebook)
    notebook.widget("PriceChart").until_drawn(8)
    assert (watch.ours, watch.abroad) == ([], [])


def test_charts_move_in_voila(page: "Page", server: Server) -> None:
    watch = Watch(page)
    server.write("app.ipynb", BEGIN, SHOW)

    page.goto(f"{server.url}/voila/render/app.ipynb")

    notebook = Notebook(page, server, "app.ipynb")
    until_coloured(notebook)
    notebook.widget("PriceChart").until_drawn(8)
    assert watch.ours == []
    assert [address for address in watch.abroad if not any(part in address for part in _OF_VOILA)] == []
