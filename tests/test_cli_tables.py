"""What ``record``, ``replay`` and long commands show on a terminal, and that no terminal holds them up."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from commands import venue
from hypothesis import given
from hypothesis import strategies as st
from support.terminal import PROGRAM, Terminal, terminal

import pmlive as pm
from pmlive.cli.summary import LiveTable, Rates, draw
from pmlive.cli.terminal import Screen, _lines, _State  # pyright: ignore[reportPrivateUsage]
from pmlive.manager import Replay
from pmlive.manager.snapshots import Query, TokenTop, Tops
from pmlive.store import read_manifest

SAMPLE = str(pm.sample())
RECORD = (*PROGRAM, "record", "--venue", "sim", "--out", "tape")
WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from pmlive.cli import main; sys.exit(main())"


def recorded(folder: Path) -> int:
    """Return how many bytes of a recording there are, in the log and in tables."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def shows_table(shown: Terminal) -> bool:
    return any(line.startswith("market ") for line in shown.lines) and "verified" in shown.everything


# --- on a terminal ---


def test_a_recording_shows_its_markets_with_prices_rates_and_trust_until_ctrl_c(tmp_path: Path) -> None:
    with terminal(RECORD, cwd=tmp_path) as shown:
        shown.wait_until(lambda: any(line.endswith("verified") for line in shown.lines))
        before = shown.lines
        shown.type(b"\x03")
        code = shown.end()

    (row,) = [line for line in before if line.startswith("Will it rain") and " Yes " in line]
    bid, ask, spread = (float(cell) for cell in row.split(" Yes ")[1].split()[:3])
    assert 0 < bid < ask < 1
    assert spread == pytest.approx(ask - bid)
    assert any("messages/s" in line and "connected" in line for line in before)
    assert code == 0
    assert "nothing was missed" in shown.everything
    # What was shown last stays above the summary, and nothing of it is left in the way.
    assert shown.everything.count("market  ") == 1
    assert shown.everything.index("market  ") < shown.everything.index("sealing") < shown.everything.index("recorded 3")


def test_a_terminal_is_left_as_it_was(tmp_path: Path) -> None:
    with terminal(RECORD, cwd=tmp_path) as shown:
        shown.wait_until(partial(shows_table, shown))
        shown.type(b"\x03")
        shown.end()

        assert shown.settings == shown.before
        assert not shown.cursor_is_hidden
        # Neither another screen nor another mode was switched on, so that even a kill leaves nothing behind.
        assert b"\x1b[?" not in shown.written


def test_a_table_stays_whole_when_the_terminal_changes_its_size(tmp_path: Path) -> None:
    with terminal(RECORD, cwd=tmp_path, size=(80, 8)) as shown:
        shown.wait_for("and ")
        shown.resize(100, 30)
        shown.wait_until(lambda: not any(line.startswith("and ") for line in shown.lines) and shows_table(shown))

        assert sum(" Yes " in line for line in shown.lines) == 3


def test_a_played_recording_runs_above_its_table(tmp_path: Path) -> None:
    with terminal((*PROGRAM, "replay", SAMPLE, "--speed", "60"), cwd=tmp_path) as shown:
        code = shown.end()

    lines = shown.everything.splitlines()
    (head,) = [number for number, line in enumerate(lines) if line.startswith("market ")]
    assert code == 1
    assert sum(" at 0." in line for line in lines[:head]) > 100
    assert not any(" at 0." in line for line in lines[head:])
    assert "100%" in lines[head - 1]
    assert sum(line.rstrip().endswith(" verified") for line in lines[head:]) == 8


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "command",
    [
        ["verify", SAMPLE],
        ["quality", SAMPLE],
        ["export", SAMPLE, "--to", "csv", "out"],
        ["export", SAMPLE, "--to", "hftbacktest", "out"],
    ],
    ids=lambda command: " ".join(command[::2]),
)
def test_a_long_command_shows_how_far_it_is(command: list[str], tmp_path: Path) -> None:
    with terminal([*PROGRAM, *command, "-o", "json"], cwd=tmp_path) as shown:
        shown.end()

    assert "100%" in shown.everything
    assert "/s" in shown.everything


def test_what_a_program_reads_is_json_alone_also_beside_a_terminal(tmp_path: Path) -> None:
    with (tmp_path / "out.json").open("wb") as file:
        command = [*PROGRAM, "verify", SAMPLE, "-o", "json"]
        with terminal(command, cwd=tmp_path, stdout=file.fileno()) as shown:
            shown.end()

    assert json.loads((tmp_path / "out.json").read_text())["ok"] is True
    assert "100%" in shown.everything


# --- where a table cannot be shown ---


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("command", "env"),
    [
        (PROGRAM, {"TERM": "dumb"}),
        (PROGRAM, {"TERM": ""}),
        ((sys.executable, "-c", WITHOUT_RICH), {}),
    ],
    ids=["dumb", "unknown", "without rich"],
)
def test_a_terminal_that_cannot_is_shown_one_line(
    command: tuple[str, ...], env: dict[str, str], tmp_path: Path
) -> None:
    with terminal([*command, *RECORD[len(PROGRAM) :], "--seconds", "1.5"], cwd=tmp_path, env=env) as shown:
        code = shown.end()

    assert code == 0
    assert "messages/s" in shown.everything
    assert "market  " not in shown.everything
    # The one that is moved up to is the line itself.
    assert b"\x1b[1A" not in shown.written


def test_without_colours_the_table_has_none(tmp_path: Path) -> None:
    with terminal([*RECORD, "--seconds", "2"], cwd=tmp_path, env={"NO_COLOR": "1"}) as shown:
        shown.end()

    assert "market  " in shown.everything
    assert b"\x1b[3" not in shown.written


def test_with_colours_bids_and_asks_have_their_own(tmp_path: Path) -> None:
    with terminal([*RECORD, "--seconds", "2"], cwd=tmp_path) as shown:
        shown.end()

    assert b"\x1b[32m" in shown.written
    assert b"\x1b[31m" in shown.written


# --- a terminal that is in trouble ---


@pytest.mark.quick(1)
@pytest.mark.parametrize("trouble", ["not read", "stopped by Ctrl-S"])
def test_a_terminal_that_takes_nothing_more_holds_no_recording_up(trouble: str, tmp_path: Path) -> None:
    with terminal(RECORD, cwd=tmp_path, size=(200, 60)) as shown:
        shown.wait_until(partial(shows_table, shown))
        if trouble == "not read":
            shown.reading.clear()
        else:
            shown.type(b"\x13")
        size = recorded(tmp_path / "tape")
        # Many times as long as the terminal's buffer takes what is drawn.
        shown.wait_until(lambda: recorded(tmp_path / "tape") > size + 60_000)
        shown.send(signal.SIGTERM)
        code = shown.process.wait(60)

    # Whoever does not read gets no summary; the recording is whole, and sealed.
    assert code == 0
    assert pm.open_recording(tmp_path / "tape").verify().ok
    assert read_manifest(tmp_path / "tape").files


def test_a_terminal_that_is_closed_ends_a_recording_as_a_signal_does(tmp_path: Path) -> None:
    with terminal(RECORD, cwd=tmp_path) as shown:
        shown.wait_until(partial(shows_table, shown))
        shown.send(signal.SIGHUP)
        code = shown.end()

    assert code == 0
    assert pm.open_recording(tmp_path / "tape").verify().ok


# --- the table itself ---


def top(number: int, **changed: object) -> TokenTop:
    values: dict[str, object] = {
        "token_id": str(number),
        "question": f"Will it rain in London on day {number} of the year?",
        "outcome": "Yes",
        "state": "verified",
        "cause": "",
        "best_bid": 0.4,
        "best_ask": 0.42,
        "messages": 10 * number,
        "tick_size": "0.01",
    }
    return TokenTop(**(values | changed))  # pyright: ignore[reportArgumentType]  # whatever a test says


def table(tops: list[TokenTop], *, tokens: int | None = None, rates: dict[str, float] | None = None) -> LiveTable:
    every = Tops(shown=tops, tokens=len(tops) if tokens is None else tokens)
    return LiveTable(
        head=[[("75 s", "bold"), ("connected", "green")]], tops=every, trusted=len(tops), rates=rates or {}
    )


def screen(columns: int = 80, lines: int = 24, *, colours: bool = False, encoding: str = "utf-8") -> Screen:
    return Screen(columns=columns, lines=lines, colours=colours, encoding=encoding)


questions = st.text(st.characters(exclude_categories=["Cs"]), max_size=90)


@given(
    asked=st.lists(questions, max_size=40),
    columns=st.integers(20, 200),
    lines=st.integers(4, 60),
    encoding=st.sampled_from(["utf-8", "ascii", "latin-1"]),
)
def test_a_table_fits_every_terminal_whatever_the_titles(
    asked: list[str], columns: int, lines: int, encoding: str
) -> None:
    from rich.cells import cell_len

    drawn = draw(
        table([top(number, question=each) for number, each in enumerate(asked)]),
        screen(columns, lines, encoding=encoding),
    )

    assert len(drawn) <= max(lines, 5)
    assert all(cell_len(line) < columns for line in drawn)
    assert all(line.isprintable() for line in drawn)
    "\n".join(drawn).encode(encoding)


def test_of_many_markets_those_that_have_room_are_shown_and_the_others_counted() -> None:
    *rows, last, below = draw(table([top(number) for number in range(30)], tokens=56), screen())

    assert len(rows) + 2 == 24
    assert last == "and 36 more; 30 of 56 books trusted"
    assert below == ""


def test_prices_are_written_with_the_decimals_of_their_market_and_stand_under_each_other() -> None:
    tops = [
        top(1),
        top(2, best_bid=0.405, best_ask=0.41, tick_size="0.001"),
        top(3, best_bid=None, state="stale", cause="silence"),
    ]
    _, head, *rows, _ = draw(table(tops, rates={"1": 12.25}), screen())

    assert head.split() == ["market", "outcome", "bid", "ask", "spread", "msg/s", "book"]
    assert [row.split("Yes")[1].split() for row in rows] == [
        ["0.40", "0.42", "0.02", "12.2", "verified"],
        ["0.405", "0.410", "0.005", "verified"],
        ["-", "0.42", "-", "stale:", "silence"],
    ]
    assert len({row.index(".", 30) for row in rows[:2]}) == 1


def test_rates_are_those_of_the_last_seconds() -> None:
    rates = Rates()

    assert rates.update(Tops(shown=[top(1, messages=0)], tokens=1), 0.0) == {}
    assert rates.update(Tops(shown=[top(1, messages=10)], tokens=1), 1.0) == {"1": 10.0}
    for second in range(2, 20):
        rates.update(Tops(shown=[top(1, messages=10)], tokens=1), float(second))
    # A token that is new has no rate yet, and one that begins anew none below zero.
    assert rates.update(Tops(shown=[top(1, messages=0), top(2)], tokens=2), 20.0) == {"1": 0.0}


def test_the_tops_of_a_replay_are_those_of_its_books() -> None:
    with Replay([pm.sample()], speed="max") as replay:
        (snapshot,) = replay.snapshots([Query(tops=5)])
        assert snapshot.tops is not None
        assert snapshot.tops.tokens == 8
        assert len(snapshot.tops.shown) == 5
        for shown in snapshot.tops.shown:
            book = replay.book(shown.token_id)
            assert (shown.best_bid, shown.best_ask, shown.state) == (book.best_bid, book.best_ask, book.state)
            assert shown.messages > 100
            assert f"{shown.question} - {shown.outcome}" == book.label


# --- the line of a long command ---


@given(done=st.integers(0, 10**12), total=st.integers(0, 10**12), columns=st.integers(12, 200))
def test_the_line_of_progress_fits_every_terminal(done: int, total: int, columns: int) -> None:
    state = _State(doing="checking", noun="records", done=done, total=total, elapsed=1.5)

    (line,) = _lines(state, screen(columns))

    assert len(line) < columns


def test_a_line_of_progress_tells_share_rate_and_time_left() -> None:
    state = _State(doing="checking", noun="records", done=300, total=1200, elapsed=2.0)

    (line,) = _lines(state, screen(encoding="ascii"))

    assert line.endswith("  25%  300 of 1,200 records  150/s  6.0 s left")
    assert line.count("#") * 3 == pytest.approx(line.split()[1].count("."), abs=3)


def test_the_environment_has_no_word_in_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "COLUMNS", "10")

    assert max(map(len, draw(table([top(1)]), screen()))) > 60


@pytest.mark.slow
def test_the_venue_may_have_more_markets_than_a_terminal_has_lines(tmp_path: Path) -> None:
    with (
        venue() as sim,
        terminal(
            [*PROGRAM, "record", *(m.slug for m in sim.markets), "--out", "tape"],
            cwd=tmp_path,
            env=sim.environment(),
            size=(80, 6),
        ) as shown,
    ):
        shown.wait_until(lambda: any(line.startswith("and 3 more; 4 of 4 books trusted") for line in shown.lines))
        shown.type(b"\x03")

        assert shown.end() == 0
