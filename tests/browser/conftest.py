"""What the browser's tests share: a server, a Chromium and a page with JupyterLab in it."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lab import Server, chromium, serving
from support.notebook import Desk, counting

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# A server drops what comes faster than 1,000 messages a second; here it is a fifth of that, which charts stay well
# below and a flood exceeds on any machine.
_LIMIT = "--ZMQChannelsWebsocketConnection.iopub_msg_rate_limit=200"
_FOLDER = Path(os.environ.get("PMLIVE_ARTIFACTS", Path(__file__).parents[2] / ".artifacts")) / "browser"


@pytest.fixture(scope="session")
def browser() -> "Generator[Browser]":
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("jupyter"), _LIMIT) as running:
        yield running


@pytest.fixture(scope="session")
def lab(browser: "Browser", server: Server) -> Desk:
    desk = Desk(counting(browser), server)
    desk.begin()
    return desk


@pytest.fixture(scope="module")
def desk(lab: Desk) -> Generator[Desk]:
    """Give a JupyterLab without notebooks."""
    yield lab
    lab.close()


@pytest.fixture(autouse=True)
def nothing_went_wrong(lab: Desk, request: pytest.FixtureRequest) -> Generator[None]:
    """Leave a picture of the page, and see that there was no error in it and that it asked nobody else."""
    yield
    shoot(lab.page, request.node.name)
    errors, lab.watch.errors = lab.watch.errors, []
    assert errors == []
    assert lab.watch.abroad == []


def shoot(page: "Page", name: str) -> None:
    """Keep a picture of a page."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=_FOLDER / f"{name}.png")
