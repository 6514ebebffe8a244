"""A replay's charts in a real JupyterLab: its slider, and a flood of messages in which some of theirs are lost."""

import pytest
from support.cells import until_coloured
from support.notebook import Desk, Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

BEGIN = """
import time
import pmlive as pm
replay = pm.open_recording(pm.sample()).replay(paused=True)
dash = replay.dashboard()
dash
"""
# Some other widget is sent 3,000 messages in a second, if the machine can, while the replay runs to its end.
FLOOD = """
import threading
from datetime import timedelta
import ipywidgets
flooded = ipywidgets.IntText()
def flood():
    for tenth in range(10):
        until = time.monotonic() + 0.1
        for number in range(300):
            flooded.send({"number": number})
        time.sleep(max(0.0, until - time.monotonic()))
    open("flooded", "w").close()
replay.seek(replay.last_time - timedelta(seconds=20))
replay.speed = 10
replay.resume()
flooding = threading.Thread(target=flood)
flooding.start()
"""
THERE = "abs((replay.position - replay.first_time) / (replay.last_time - replay.first_time) - {share}) < 0.03"
# What the charts should show of the token that they show, from what the manager has.
PRICES = """
import json, polars as pl
token = dash.price.token_id
its = replay.prices.filter(pl.col("token_id") == token)
book = replay.book(token)
print(json.dumps({
    "bids": its["best_bid"].to_list(),
    "asks": its["best_ask"].to_list(),
    "times": list(its["ts_recv"].to_physical().to_numpy() / 1e6),
    "bid_prices": [price for price, _ in book.bids],
}))
"""


@pytest.fixture(scope="module")
def notebook(desk: Desk) -> Notebook:
    made = desk.open(BEGIN, FLOOD, "'after'")
    made.run(0)
    made.until(lambda: made.widget("PriceChart").draws, "that there is a chart")
    return made


def test_a_replay_goes_where_its_slider_is_put(notebook: Notebook) -> None:
    chart = notebook.widget("PriceChart")
    assert len(chart.arrays["times"]) == 0

    put_slider(notebook, 1 / 2)
    until_coloured(notebook)
    halfway = len(chart.arrays["times"])

    put_slider(notebook, 1 / 4)
    notebook.until(lambda: 0 < len(chart.arrays["times"]) < halfway, "that the chart goes back, too")
    put_slider(notebook, 3 / 4)
    notebook.until(lambda: len(chart.arrays["times"]) > halfway, "that the chart goes on")


def put_slider(notebook: Notebook, share: float) -> None:
    """Click on the slider, and wait until the replay is there."""
    slider = notebook.page.locator(".widget-slider .noUi-target").bounding_box()
    assert slider is not None
    notebook.page.mouse.click(slider["x"] + slider["width"] * share, slider["y"] + slider["height"] / 2)
    notebook.until(lambda: notebook.given(THERE.format(share=share)), f"that it is at {share} of the recording")


def test_a_chart_that_stands_still_follows_the_theme(notebook: Notebook) -> None:
    chart = notebook.widget("PriceChart")

    put_theme(notebook, "JupyterLab Dark")
    notebook.until(lambda: chart.pixels("dark bid") > 100, "that the colours are those of the dark theme")

    put_theme(notebook, "JupyterLab Light")
    notebook.until(lambda: chart.pixels("bid") > 100, "that the colours are those of the light theme")


def put_theme(notebook: Notebook, name: str) -> None:
    """Change the theme; JupyterLab's curtain, which it cannot draw twice at a time, is gone after that."""
    notebook.page.evaluate("(theme) => { jupyterapp.commands.execute('apputils:change-theme', { theme }); }", name)
    there = "(name) => document.body.dataset.jpThemeName === name && !document.querySelector('#jupyterlab-splash')"
    notebook.until(lambda: notebook.page.evaluate(there, name), f"that the theme is {name}")


def test_what_was_drawn_bit_by_bit_is_what_is_drawn_at_once(notebook: Notebook) -> None:
    charts = [notebook.widget(name) for name in ("PriceChart", "HeatMap")]
    assert notebook.given("replay.paused") is True

    for _ in range(12):
        drawn = charts[0].draws
        notebook.ask("replay.step(40)")
        notebook.until(lambda before=drawn: charts[0].draws > before, "that the chart is drawn again")

    for chart in charts:
        chart.until_still()
        assert chart.pixels("bid") > 100
        assert chart.differs_anew() < 0.001


def test_a_flood_that_loses_messages_leaves_no_chart_wrong_and_no_cell_waiting(notebook: Notebook) -> None:
    """The server drops messages past its limit, whosever they are."""
    notebook.run(1)
    log = notebook.server.log
    notebook.until(lambda: "IOPub message rate exceeded" in log.read_text(), "that the server drops messages")
    notebook.until((notebook.server.folder / "flooded").exists, "that the flood is over")
    notebook.until(lambda: notebook.given("replay.finished"), "that the replay is at its end")

    there = notebook.told(PRICES, dict[str, list[float]])
    chart, depth = notebook.widget("PriceChart"), notebook.widget("DepthChart")
    notebook.until(lambda: chart.arrays["times"][-1:] == there["times"][-1:], "that the chart has come to the end")
    for name in ("times", "bids", "asks"):
        assert chart.arrays[name] == there[name]
    notebook.until(lambda: depth.arrays["bid_prices"] == there["bid_prices"], "that the depth has come to the end")
    ladder = str(notebook.given("dash.ladder._repr_html_()"))
    notebook.until(lambda: notebook.plain(ladder) == notebook.widget("Ladder").text, "that the ladder has, too")
    notebook.run(2)
    assert [notebook.prompt(cell) for cell in range(3)] == ["1", "2", "3"]
