"""A Jupyter server and a Chromium of a test's own, without a network."""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import urlsplit

from support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

__all__ = ["Server", "Watch", "chromium", "free_port", "serving"]

_ROOT = Path(__file__).parents[2]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
_OPTIONS = (
    "--no-browser",
    "--allow-root",
    "--ip=127.0.0.1",
    "--ServerApp.port_retries=0",
    "--IdentityProvider.token=",
    "--ServerApp.disable_check_xsrf=True",
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.news_url=",
    "--JupyterNotebookApp.expose_app_in_browser=True",
)
_FLAGS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--enable-precise-memory-info",
    "--js-flags=--expose-gc",
    # There is no network, whatever this machine has.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
# What Jupyter itself says on a console that has nothing to do with what it runs.
_OF_JUPYTER = ("favicon", "Failed to load resource", "ResizeObserver loop")


class Server:
    """A running Jupyter server, with JupyterLab, Notebook and Voila, and the folder of its notebooks."""

    def __init__(self, port: int, folder: Path, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self.log = log

    def write(self, name: str, *cells: str) -> Path:
        """Write a notebook that was not run yet."""
        described = {
            "cells": [_cell(at, source) for at, source in enumerate(cells)],
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = self.folder / name
        path.write_text(json.dumps(described))
        return path

    def asked(self, path: str) -> object:
        """Ask its REST interface."""
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310  # our own address
            return json.load(answer)


class Watch:
    """What went wrong in a page, and what it asked others for."""

    def __init__(self, page: "Page") -> None:
        self.errors: list[str] = []
        self.abroad: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        page.on("console", self._said)
        page.on("request", lambda request: self._went(request.url))
        page.on("websocket", lambda one: self._went(one.url))

    @property
    def ours(self) -> list[str]:
        """List what went wrong in widgets, whose scripts are in no file."""
        return [error for error in self.errors if "blob:" in error or "widget" in error]

    def _said(self, message: "ConsoleMessage") -> None:
        if message.type == "error" and not any(words in message.text for words in _OF_JUPYTER):
            self.errors.append(f"{message.text}\n{message.location}")

    def _went(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme in {"http", "https", "ws", "wss"} and address.hostname not in {"127.0.0.1", "localhost"}:
            self.abroad.append(url)


@contextmanager
def serving(folder: Path, *options: str) -> Generator[Server]:
    """Run a Jupyter server until the end, with settings of its own."""
    notebooks, log = folder / "notebooks", folder / "server.log"
    notebooks.mkdir()
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        *_OPTIONS,
        *options,
        f"--port={port}",
        f"--ServerApp.root_dir={notebooks}",
    ]
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=_environment(folder), cwd=notebooks)
        try:
            server = Server(port, notebooks, log)
            wait_until(lambda: _answers(server, process), 60, what="that the server answers")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def chromium() -> Generator["Browser"]:
    """Run the Chromium of this machine.

    Raises:
        FileNotFoundError: there is none.
    """
    from playwright.sync_api import sync_playwright

    found = os.environ.get("PMLIVE_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise FileNotFoundError(f"no browser on the path: none of {', '.join(_NAMES)}; name one in PMLIVE_CHROMIUM")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, headless=True, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def _cell(at: int, source: str) -> dict[str, object]:
    return {
        "cell_type": "code",
        "id": f"cell-{at}",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def _environment(folder: Path) -> dict[str, str]:
    own = {
        name: str(folder / name.lower())
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "IPYTHONDIR",
        )
    }
    quiet = Path(own["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps(_QUIET))
    return {**os.environ, **own, "PYTHONPATH": str(_ROOT), "PMLIVE_DATA_DIR": str(folder / "data")}


def free_port() -> int:
    """Find a port of this computer that nobody has, for a program that must be told one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(server: Server, process: "subprocess.Popen[bytes]") -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the server ended: {server.log.read_text()[-2000:]}")
    try:
        server.asked("/api/status")
    except (URLError, OSError):
        return False
    return True
