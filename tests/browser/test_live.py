"""Live charts in a real JupyterLab: one dashboard, as somebody sees it who goes on working beside it."""

import pytest
from support.cells import BEGIN, SHOW, assert_the_same, until_coloured
from support.notebook import SHOWN, Desk, Notebook, until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

BLOCK, AFTER, AGAIN, LONG = 2, 3, 4, 5


@pytest.fixture(scope="module")
def notebook(desk: Desk) -> Notebook:
    """Show a dashboard, and have some cells under it."""
    made = desk.open(BEGIN, SHOW, "time.sleep(300)", "'after'", "dash.price", "print('line\\n' * 400)")
    made.run(0, 1)
    for name in ("PriceChart", "HeatMap", "DepthChart"):
        until_coloured(made, name)
    return made


def test_every_part_of_a_dashboard_is_there(notebook: Notebook) -> None:
    for name in SHOWN:
        state = notebook.widget(name).state
        assert state is not None, name
        assert state["number"], name
    question = str(notebook.given("live.sim.markets[0].question"))
    for name in ("Ladder", "Tape"):
        notebook.until(lambda one=name: question in notebook.widget(one).text, f"that {name} has the market's name")
    assert "books trusted" in notebook.widget("StatusPanel").text
    assert "nothing is recorded" in notebook.widget("RecordingPanel").text


def test_charts_move_while_a_cell_blocks_and_outlive_an_interrupt(notebook: Notebook) -> None:
    notebook.start(BLOCK)
    notebook.until(lambda: notebook.prompt(BLOCK) == "*", "that the cell runs")
    for name in ("PriceChart", "DepthChart", "Ladder"):
        notebook.widget(name).until_drawn(8)
    assert notebook.prompt(BLOCK) == "*"

    notebook.do("notebook:interrupt-kernel")
    notebook.until(lambda: "KeyboardInterrupt" in notebook.text(BLOCK), "that the cell is interrupted")
    notebook.widget("PriceChart").until_drawn(8)
    notebook.run(AFTER)
    assert "after" in notebook.text(AFTER)


def test_a_lost_connection_greys_the_charts_which_recover(notebook: Notebook) -> None:
    charts = [notebook.widget(name) for name in ("PriceChart", "HeatMap", "DepthChart")]
    before = charts[2].pixels("bid")

    notebook.ask("live.sim.fault('refuse', channel='market', number=503); live.sim.fault('drop', channel='market')")
    for chart in charts:
        notebook.until(lambda one=chart: "disconnect" in one.doubt, "that the chart says what is wrong")
    notebook.until(lambda: charts[2].pixels("bid") < before / 4, "that the depth is greyed")
    notebook.until(lambda: "disconnect" in notebook.widget("Ladder").text, "that the ladder says what is wrong")

    notebook.ask("live.sim.clear_faults()")
    for chart in charts:
        notebook.until(lambda one=chart: one.doubt == "", "that the chart is trusted again")
    notebook.until(lambda: charts[2].pixels("bid") > before / 4, "that the depth is back")
    notebook.until(lambda: charts[0].arrays["gap_starts"], "that the gap is shaded")


def test_a_feed_that_falls_silent_greys_the_charts(notebook: Notebook) -> None:
    chart = notebook.widget("PriceChart")

    notebook.ask("live.sim.fault('stall', channel='market')")
    notebook.until(lambda: chart.doubt, "that the silence is told")

    notebook.ask("live.sim.clear_faults()")
    notebook.until(lambda: chart.doubt == "", "that the chart is trusted again")


def test_two_views_of_one_chart_show_the_same(notebook: Notebook) -> None:
    notebook.run(AGAIN)
    first, second = (notebook.widget("PriceChart", at) for at in range(2))

    notebook.until(lambda: second.pixels("mid") > 100, "that the second view is drawn")
    second.until_drawn(8)
    first.until_drawn(8)

    rows = len(first.arrays["times"])
    notebook.until(lambda: len(second.arrays["times"]) >= rows, "that the second view has what the first has")
    assert second.arrays["times"][:rows] == first.arrays["times"][:rows]


def test_nothing_is_sent_to_a_tab_that_nobody_looks_at(desk: Desk, notebook: Notebook) -> None:
    other = desk.open("1 + 1")

    def quiet() -> bool:
        before = received(other)
        other.page.wait_for_timeout(1500)
        return received(other) == before

    until(other.page, quiet, what="that nothing comes any more")

    desk.open_again(notebook.name)
    notebook.widget("PriceChart").until_drawn(8)
    assert_the_same(notebook)


def received(notebook: Notebook) -> object:
    """Count the messages that kernels sent to the page so far."""
    return notebook.page.evaluate("() => window.received.messages")


def test_nothing_is_sent_to_a_chart_that_is_scrolled_away(notebook: Notebook) -> None:
    notebook.run(LONG)
    scroll = "(down) => { document.querySelector('.jp-WindowedPanel-outer').scrollTop = down; }"

    notebook.page.evaluate(scroll, 100_000)

    def stands() -> bool:
        before = notebook.given("dash.price._channel.number")
        notebook.page.wait_for_timeout(1500)
        return notebook.given("dash.price._channel.number") == before

    notebook.until(stands, "that nothing is sent any more")
    notebook.page.evaluate(scroll, 0)
    notebook.widget("PriceChart").until_drawn(8)
    assert_the_same(notebook)


def test_a_market_that_is_searched_for_is_added(notebook: Notebook) -> None:
    page = notebook.page
    question = str(notebook.given("live.sim.markets[2].question"))

    page.fill("input[placeholder^='find']", str(notebook.given("live.sim.markets[2].slug")))
    page.click("button:has-text('find')")
    page.click("button:has-text('watch'):visible")

    chart = notebook.widget("PriceChart")
    notebook.until(lambda: question in str((chart.state or {}).get("values")), "that the market is shown")
    until_coloured(notebook)
    assert notebook.given("len(live.subscriptions)") == 3


def test_a_page_that_is_loaded_again_shows_the_whole_history(desk: Desk, notebook: Notebook) -> None:
    chart = notebook.widget("PriceChart")
    notebook.until(lambda: len(chart.arrays["times"]) > 50, "that there is some history")
    before = chart.arrays
    saved = desk.server.folder / notebook.name
    notebook.do("docmanager:save")
    notebook.until(lambda: "widget-view" in saved.read_text(), "that it is saved")

    desk.reload(notebook.name)

    notebook.until(lambda: chart.draws > 5, "that the chart is drawn again")
    notebook.until(lambda: len(chart.arrays["times"]) > len(before["times"]), "that it goes on")
    for name in ("times", "bids", "asks", "trade_times"):
        assert chart.arrays[name][: len(before[name])] == before[name]
