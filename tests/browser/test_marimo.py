"""A dashboard in marimo, whose pages run widgets that bring their own script, and no containers of them."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from support.lab import free_port
from support.waiting import wait_until

pytest.importorskip("marimo", reason="marimo comes with the extra `browser`")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

_APP = """
import marimo
app = marimo.App()
@app.cell
def _():
    import pmlive as pm
    live = pm.open_recording(pm.sample()).replay(speed=20)
    live.dashboard()
    return (live,)
@app.cell
def _(live):
    from pmlive.widgets import DepthChart
    DepthChart(live)
"""
# Shadow roots of marimo's own elements hide what is in them from selectors.
_TEXT = """() => {
  const texts = [];
  const look = (root) => {
    for (const each of root.childNodes) {
      if (each.nodeType === Node.TEXT_NODE) texts.push(each.data);
      if (each.shadowRoot) look(each.shadowRoot);
      look(each);
    }
  };
  look(document.body);
  return texts.join(" ");
}"""
_CANVASES = """() => {
  const found = [];
  const look = (root) => root.querySelectorAll("*").forEach((each) => {
    if (each.tagName === "CANVAS") found.push(each);
    if (each.shadowRoot) look(each.shadowRoot);
  });
  look(document);
  return found.filter((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value);
  }).length;
}"""

# Where each of them begins and ends from left to right.
_SPANS = """() => {
  const found = [];
  const look = (root) => root.querySelectorAll("*").forEach((each) => {
    const { left, right } = each.getBoundingClientRect();
    if (each.tagName === "CANVAS") found.push([left, right]);
    if (each.shadowRoot) look(each.shadowRoot);
  });
  look(document);
  return found;
}"""


@contextmanager
def app(folder: Path, theme: str, width: str = "compact") -> Generator[str]:
    """Serve the app as marimo does, in a theme, on a page of some width."""
    (folder / "app.py").write_text(_APP.replace("App()", f"App(width={width!r})"))
    (folder / "pyproject.toml").write_text(f'[tool.marimo.display]\ntheme = "{theme}"\n')
    port = free_port()
    command = ["run", "app.py", "--headless", "--port", str(port), "--host", "127.0.0.1", "--no-token"]
    process = subprocess.Popen([sys.executable, "-m", "marimo", *command], cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url), 60.0, what="marimo")
        yield url
    finally:
        process.kill()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_dashboard_is_live_in_marimo(theme: str, browser: "Browser", tmp_path: Path) -> None:
    with app(tmp_path, theme) as url:
        # Tall enough for all of it: what is out of sight is not kept up to date.
        page = browser.new_page(viewport={"width": 1280, "height": 2000})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)

        # Three charts of the dashboard, and one that stands alone.
        wait_until(lambda: page.evaluate(_CANVASES) == 4, 60.0, what="four charts")
        wait_until(lambda: "replay, finished" in page.evaluate(_TEXT), 60.0, what="the end of the replay")
        assert "Trades" in page.evaluate(_TEXT)
        assert errors == []
        page.context.close()


@pytest.mark.parametrize(("width", "columns"), [(480, 1), (1280, 2)])
def test_a_dashboard_is_as_wide_as_the_page_of_marimo(
    width: int, columns: int, browser: "Browser", tmp_path: Path
) -> None:
    with app(tmp_path, "light", "full") as url:
        page = browser.new_page(viewport={"width": width, "height": 2600})
        page.goto(url)
        wait_until(lambda: page.evaluate(_CANVASES) == 4, 60.0, what="four charts")

        spans = page.evaluate(_SPANS)

        assert all(0 <= left < right <= width for left, right in spans)
        assert min(right - left for left, right in spans) > 250
        assert len({round(left) for left, _ in spans}) == columns
        page.context.close()
