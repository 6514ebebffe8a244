"""Cells in real kernels: with and without loops, interrupted, run again, restarted, busy."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest
from support.audit import Audit
from support.kernel import Kernel, kernel
from support.waiting import wait_until

import pmlive as pm
from pmlive.sim import SimulatedVenue
from pmlive.store import records

KERNEL = tuple(int(number) for number in version("ipykernel").split(".")[:2])
IMPORTS = "import asyncio, gc, os, threading, time\nimport pmlive as pm"
# What belongs to the kernel itself.
OURS = "sorted(thread.name for thread in threading.enumerate() if thread.name.startswith('pmlive'))"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[Kernel]:
    """Run a kernel for tests that leave nothing behind."""
    with kernel(tmp_path_factory.mktemp("notebook")) as running:
        running.run(IMPORTS)
        yield running


@pytest.fixture
def notebook(shared: Kernel, tmp_path: Path) -> Generator[Kernel]:
    """Work in a folder of one's own, and see that no manager, thread or socket is left in the kernel."""
    shared.run(f"os.chdir({str(tmp_path)!r})")
    yield shared
    shared.run("pm.close_all()")
    shared.wait_until(f"{OURS} == []")


@contextmanager
def recorded(notebook: Kernel, folder: Path) -> Generator[SimulatedVenue]:
    """Record all of a venue of the test's own while cells run, and see that nothing is missing."""
    with SimulatedVenue(markets=2, rate=150, keep_truth=True, duplicates=0) as sim:
        notebook.run(f"os.environ.update({sim.environment()!r})\nlive = pm.Manager()\nlive.record({str(folder)!r})")
        notebook.run(f"live.watch({[market.slug for market in sim.markets]!r})\nfrom pmlive.widgets import PriceChart")
        notebook.run(f"chart = PriceChart(live, {sim.markets[0].token_ids[0]!r})")
        notebook.wait_until("live.status()['books']['trusted'] == 4")
        yield sim
        notebook.run("live.close()")
        tokens = [token for market in sim.markets for token in market.token_ids]
        audit = Audit(sim, folder, tokens)
        assert len(audit.sent) > 100
        assert (audit.unkept, audit.invented, audit.gaps.height) == ([], [], 0)


def general_gaps(folder: Path) -> list[str]:
    """List the causes of the gaps of everything."""
    gaps = pm.open_recording(folder).scan("gaps").filter(pl.col("token_id").is_null()).collect()
    return [str(cause) for cause in gaps["cause"]]


def until_caught_up(notebook: Kernel) -> None:
    """Wait until the chart has every price that there is now."""
    token = notebook.value("chart.token_id")
    rows = notebook.value(f"live.prices.filter(token_id={token!r}).height")
    model = str(notebook.value("chart.model_id"))
    wait_until(lambda: len(notebook.follow(model).arrays["times"]) >= int(str(rows)), what="that the chart caught up")


# --- loops ---


def test_cells_call_with_a_running_loop_and_without_one(notebook: Kernel) -> None:
    notebook.run("live = pm.Manager(venue='sim')\nlive.watch(live.sim.markets[0].slug)")
    here = "asyncio.get_running_loop() and live.book(live.sim.markets[0].slug, 'Yes').best_bid"
    notebook.run("def look(): seen.append(live.book(live.sim.markets[0].slug, 'Yes').best_bid)")

    assert isinstance(notebook.value(here), float)
    notebook.run("seen = []\nthread = threading.Thread(target=look); thread.start(); thread.join()")
    assert isinstance(notebook.value("seen[0]"), float)


def test_cells_may_await(notebook: Kernel) -> None:
    cell = """
async with pm.Manager(venue="sim") as live:
    async for update in live.watch(live.sim.markets[0].slug):
        print(update["token_id"] in live.sim.markets[0].token_ids)
        break
"""

    assert notebook.run(cell) == "True\n"
    notebook.wait_until(f"{OURS} == []")


# --- the stop button ---

BLOCKING = {
    "sleeping": "time.sleep(60)",
    "reading": "async for _ in live.subscriptions[0]: pass",
    "waiting for a replay": "again.wait()",
    "asking the venue": "live.watch('will-it-ever-answer')",
}


# A cell that awaits is cancelled by some kernels.
STOPPED = ("KeyboardInterrupt: ", "CancelledError: ")


def test_a_cell_that_is_interrupted_stops_nothing_else(notebook: Kernel, tmp_path: Path) -> None:
    with recorded(notebook, tmp_path / "night") as sim:
        notebook.run("again = pm.open_recording(pm.sample()).replay()")
        for name, code in BLOCKING.items():
            sim.fault("stall", channel="gamma")
            asked = notebook.begin(f"print('begun', flush=True)\n{code}")
            notebook.wait_for("begun", asked)

            notebook.interrupt()

            assert notebook.end(asked).error in STOPPED, name
            sim.clear_faults()
            kept = notebook.value("live.status()['recording']['frames']")
            notebook.wait_until(f"live.status()['recording']['frames'] > {kept}")
        until_caught_up(notebook)
        assert notebook.value("[chart.closed, again.finished, again.paused]") == [False, False, False]
        notebook.run("again.close()")


# --- busy cells ---


def busy(notebook: Kernel, folder: Path, seconds: float) -> None:
    with recorded(notebook, folder):
        notebook.run(f"end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: sum(range(1000))", 60)
        until_caught_up(notebook)


def test_a_busy_cell_loses_nothing_and_the_chart_catches_up(notebook: Kernel, tmp_path: Path) -> None:
    busy(notebook, tmp_path / "night", 2)


@pytest.mark.slow
def test_a_cell_that_is_busy_for_ten_seconds_loses_nothing(notebook: Kernel, tmp_path: Path) -> None:
    busy(notebook, tmp_path / "night", 10)


# --- pictures that the kernel draws ---


# The second new picture is drawn when the first has been sent.
BUSY_UNTIL_DRAWN = """
drawn, end = {dashboard.price.value}, time.monotonic() + 30
while len(drawn) < 3 and time.monotonic() < end:
    sum(range(1000))
    drawn.add(dashboard.price.value)
"""


def pictures(notebook: Kernel) -> int:
    """Count what was drawn and sent so far."""
    while notebook.hear(0.0):
        pass
    return sum(message["msg_type"] == "comm_msg" and bool(message["buffers"]) for message in notebook.messages)


def test_pictures_are_drawn_while_a_cell_is_busy_and_by_a_cell_that_draws(notebook: Kernel) -> None:
    for cell in CELLS:
        notebook.run(cell)
    notebook.run("dashboard = live.dashboard(charts='image')\ndashboard")
    before = pictures(notebook)
    notebook.run(BUSY_UNTIL_DRAWN)
    busy = pictures(notebook)

    notebook.run("dashboard.draw_for(1)")
    notebook.run("await dashboard.draw_for_async(1)")
    drawn = pictures(notebook)
    asked = notebook.begin("print('begun', flush=True); dashboard.draw_for(600)")
    notebook.wait_for("begun", asked)
    notebook.interrupt()

    assert notebook.end(asked).error == "KeyboardInterrupt: "
    assert before < busy < drawn
    notebook.wait_until("'pmlive charts' in [thread.name for thread in threading.enumerate()]")
    assert notebook.value("dashboard.closed") is False


# --- cells that are run again ---

CELLS = (
    "live = pm.Manager(venue='sim')",
    "live.record('night')",
    "live.watch(live.sim.markets[0].slug)",
    "live.book(live.sim.markets[0].slug, 'Yes').state",
)
FILES = "len(os.listdir('/proc/self/fd'))"


def test_cells_that_are_run_again_leave_nothing_of_the_first_time(notebook: Kernel, tmp_path: Path) -> None:
    for cell in CELLS:
        notebook.run(cell)
    threads, files = notebook.value(OURS), notebook.value(FILES)

    for _ in range(3):
        for cell in CELLS:
            notebook.run(cell)

    notebook.wait_until(f"{OURS} == {threads!r}")
    notebook.wait_until(f"{FILES} <= {files!r} + 2")
    assert notebook.value("len(pm.managers())") == 1
    notebook.run("live.close()")
    assert general_gaps(tmp_path / "night") == ["restart"] * 3


def test_a_manager_with_a_dashboard_is_there_until_it_is_closed(notebook: Kernel) -> None:
    for cell in (*CELLS, "live.dashboard()"):
        notebook.run(cell)
    notebook.run(CELLS[0])

    refused = notebook.end(notebook.begin(CELLS[1]))
    assert "is being recorded by another manager of this process" in refused.error
    assert "pm.close_all()" in refused.error
    asked = notebook.begin("pm.close_all()")

    pictures = [data for data in notebook.end(asked).shown("update_display_data") if "image/png" in data]
    assert len(pictures) == 1
    for cell in CELLS:
        notebook.run(cell)


OPEN = "[not each.closed for each in dashboards]"


def test_dashboards_of_two_cells_are_open_and_a_cell_that_runs_again_closes_its_own(notebook: Kernel) -> None:
    def run(code: str, *, cell: str = "") -> None:
        assert notebook.end(notebook.begin(code, cell=cell)).error == ""

    for cell in (*CELLS, "dashboards = []"):
        notebook.run(cell)
    # The text of a cell says nothing where the front end tells which one it is.
    show = "dashboards.append(live.dashboard((live.sim.markets[0].slug, outcome)))"
    for outcome, cell in (("Yes", "a"), ("No", "b")):
        run(f"outcome = {outcome!r}")
        run(show, cell=cell)
    assert notebook.value(OPEN) == [True, True]

    run("outcome = 'Yes'")
    run(show, cell="b")

    assert notebook.value(OPEN) == [True, False, True]
    run(CELLS[0])
    run(f"live.watch(live.sim.markets[0].slug)\n{show}", cell="b")
    assert notebook.value(OPEN) == [True, False, False, True]


def test_a_cell_is_known_by_its_text_where_a_front_end_tells_no_more(notebook: Kernel) -> None:
    for cell in (*CELLS, "dashboards = []"):
        notebook.run(cell)
    yes, no = (f"dashboards.append(live.dashboard((live.sim.markets[0].slug, {each!r})))" for each in ("Yes", "No"))
    notebook.run(yes)
    notebook.run(no)
    assert notebook.value(OPEN) == [True, True]

    notebook.run(no)
    # Both of one run are shown.
    notebook.run(f"{yes}\n{no}")

    assert notebook.value(OPEN) == [True, False, True, True, True]
    notebook.run("live.close()")
    assert notebook.value(OPEN) == [False] * 5


def test_code_that_is_loaded_again_changes_nothing_of_a_running_manager(notebook: Kernel, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import pmlive as pm\n\ndef is_one(live):\n    return isinstance(live, pm.Manager)\n"
    )
    notebook.run("%load_ext autoreload\n%autoreload 2")
    notebook.run("import sys; sys.path.insert(0, '.'); import mine")
    for cell in CELLS:
        notebook.run(cell)
    threads, identity = notebook.value(OURS), notebook.value("id(pm.Manager)")

    (tmp_path / "mine.py").write_text(
        "import pmlive as pm\n\ndef is_one(live):\n    return isinstance(live, pm.Manager), type(live) is pm.Manager\n"
    )
    os.utime(tmp_path / "mine.py", (2e9, 2e9))

    assert notebook.value("mine.is_one(live)") == [True, True]
    assert notebook.value(OURS) == threads
    assert notebook.value("id(pm.Manager)") == identity
    notebook.run("%autoreload 0")


# --- nested loops ---


def test_loops_are_nested_when_a_notebook_asks_for_it_and_no_queued_cell_is_lost(tmp_path: Path) -> None:
    with kernel(tmp_path) as notebook:
        refused = notebook.end(notebook.begin("import asyncio; asyncio.run(asyncio.sleep(0))"))
        assert "asyncio.run() cannot be called" in refused.error
        notebook.run("%load_ext pmlive")

        said = notebook.run("%pmlive nest")

        assert "nest-asyncio2" in said
        assert "is applied" in said
        cells = ["asyncio.run(asyncio.sleep(0.5, 'nested'))", *(f"{number}" for number in range(4))]
        queued = [notebook.begin(cell) for cell in cells]
        assert [notebook.end(asked).text for asked in queued] == ["'nested'\n", "0\n", "1\n", "2\n", "3\n"]
        notebook.run("import pmlive as pm\nlive = pm.Manager(venue='sim')\nlive.watch(live.sim.markets[0].slug)")
        notebook.run("async def look(): return live.book(live.sim.markets[0].slug, 'Yes').best_bid")
        assert isinstance(notebook.value("asyncio.run(look())"), float)


@pytest.mark.skipif(KERNEL < (7, 3), reason="earlier kernels lose no cells to it")
def test_the_original_nesting_is_refused_with_the_reason(tmp_path: Path) -> None:
    told = tmp_path / "nest_asyncio-1.6.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: nest-asyncio\nVersion: 1.6.0\n")
    with kernel(tmp_path) as notebook:
        # What its `apply` leaves behind, and all that is asked.
        notebook.run("import sys, asyncio; sys.path.insert(0, '.'); asyncio._nest_patched = True")
        notebook.run("%load_ext pmlive")

        refused = notebook.end(notebook.begin("%pmlive nest"))

        assert "nest-asyncio 1.6.0 loses queued cells under ipykernel" in refused.text
        assert "restart the kernel" in refused.text


# --- a new kernel ---


def test_what_was_recorded_before_a_restart_is_there_and_goes_on_after_it(tmp_path: Path) -> None:
    with SimulatedVenue(markets=1, rate=100) as sim, kernel(tmp_path, sim.environment()) as notebook:
        cells = (IMPORTS, "live = pm.Manager()", *CELLS[1:2], f"live.watch({sim.markets[0].slug!r})")
        book = f"live.book({sim.markets[0].token_ids[0]!r}).state"
        for cell in (*cells, book, "live.dashboard()"):
            notebook.run(cell)

        notebook.restart()

        night = pm.open_recording(tmp_path / "night")
        assert night.verify().ok
        assert night.scan("gaps").collect().is_empty()
        for cell in (*cells, book, "live.close()"):
            notebook.run(cell)
    night = pm.open_recording(tmp_path / "night")
    assert general_gaps(tmp_path / "night") == ["restart"]
    kinds = [record.kind for record in records(tmp_path / "night")]
    assert [kind for kind in kinds if kind in ("begin", "end")] == ["begin", "end"] * 2
    assert night.verify().ok
