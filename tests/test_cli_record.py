"""``pmlive record``, against a simulated venue in the test's process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import run, running, venue

from pmlive.cli import main
from pmlive.recording import info
from pmlive.sim import HOSTILE_TITLE


def test_a_recording_of_some_seconds_is_sealed_proved_and_summarised(tmp_path: Path) -> None:
    with venue() as sim:
        slug = sim.markets[0].slug
        done = run("record", slug, "--out", "tape", "--seconds", 1.5, "-o", "json", cwd=tmp_path, env=sim.environment())

    assert done.code == 0, done.err
    shown = done.object
    assert shown["folder"] == "tape"
    assert shown["markets"] == [slug]
    assert shown["ended_by"] == "time"
    assert shown["missed"] == []
    assert shown["proved"]["hash_verified"] > 0
    assert shown["kept"]["rows"]["book_snapshots"] >= 2
    assert shown["kept"]["unsealed"] == 0
    assert info(tmp_path / "tape").frames == shown["kept"]["frames"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_seals_what_is_open_and_is_a_success(number: signal.Signals, tmp_path: Path) -> None:
    arguments = ("record", "--venue", "sim", "--out", "tape", "-o", "json")
    with running(*arguments, cwd=tmp_path) as program:
        program.wait_for("recording into tape")
        program.send(number)
        program.send(number)
        done = program.end()

        assert done.code == 0, done.err
        assert done.object["ended_by"] == "signal"
        assert info(tmp_path / "tape").unsealed == 0
        assert "Traceback" not in done.err


@pytest.mark.parametrize(("seconds", "code"), [(0.2, 0), pytest.param(12, 1, marks=pytest.mark.slow)])
def test_an_opening_book_that_a_signal_cuts_short_is_a_finding_once_it_is_late(
    seconds: float, code: int, tmp_path: Path
) -> None:
    with venue() as sim:
        sim.fault("silent", channel="market")
        with running(
            "record", sim.markets[0].slug, "--out", "tape", "-o", "json", cwd=tmp_path, env=sim.environment()
        ) as program:
            program.wait_until(lambda: any(one.channel == "market" for one in sim.connections))
            time.sleep(seconds)
            program.send(signal.SIGTERM)
            done = program.end()

    assert done.code == code, done.out
    assert done.object["without_book"]
    assert {gap["cause"] for gap in done.object["missed"]} <= {"late opening book"}


def test_a_signal_while_the_venue_is_asked_ends_it_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    with venue() as sim:
        sim.fault("stall")
        with running("record", sim.markets[0].slug, "--out", "tape", cwd=tmp_path, env=sim.environment()) as program:
            program.wait_until(lambda: bool(sim.dials))
            program.send(signal.SIGTERM)
            done = program.end()

    assert (done.code, done.out, done.err) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_continued_with_the_time_between_as_a_gap(tmp_path: Path) -> None:
    with venue() as sim:
        _, done = [
            run(
                "record", market.token_ids[0], "--out", "tape", "--seconds", 1, "-o", "json",
                cwd=tmp_path, env=sim.environment(),
            )
            for market in sim.markets
        ]  # fmt: skip

    assert done.code == 1
    assert [gap["cause"] for gap in done.object["missed"]] == ["restart"]
    whole = info(tmp_path / "tape")
    assert whole.frames > done.object["kept"]["frames"]
    assert len(whole.markets) == 2


def test_a_disconnection_is_a_finding(tmp_path: Path) -> None:
    with venue() as sim:
        arguments = ("record", sim.markets[0].slug, "--out", "tape", "--seconds", 6)
        with running(*arguments, cwd=tmp_path, env=sim.environment()) as program:
            program.wait_for("recording into tape")
            program.wait_until(lambda: any(one.channel == "market" for one in sim.connections))
            sim.fault("drop", channel="market")
            program.wait_for("data is missing until it is back")
            done = program.end()

    assert done.code == 1, done.err
    assert "by disconnect" in done.out


def test_a_venue_that_never_answers_is_a_finding(tmp_path: Path) -> None:
    with venue() as sim:
        sim.fault("refuse", channel="market")
        done = run(
            "record", sim.markets[0].slug, "--out", "tape", "--seconds", 1, "-o", "json",
            cwd=tmp_path, env=sim.environment(),
        )  # fmt: skip
        tokens = sorted(sim.markets[0].token_ids)

    assert done.code == 1
    assert done.object["without_book"] == tokens
    assert "HTTP 429" in done.object["trouble"]


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("no-such-market", "no market with the slug 'no-such-market'"),
        ("0x" + "ab" * 32, "no market with the condition id"),
        ("1" * 77, "no market with the token id"),
        ("https://example.com/event/x", "expected https://polymarket.com"),
        ("rain in london", "pmlive search 'rain in london'"),
        ("0x12", "a condition id has 64"),
    ],
)
def test_a_wrong_name_leaves_nothing_on_the_disk(
    named: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with venue() as sim:
        for name, value in (sim.environment() | {"PMLIVE_DATA_DIR": str(tmp_path / "data")}).items():
            monkeypatch.setenv(name, value)
        code = main(["record", sim.markets[0].slug, named, "--out", str(tmp_path / "tape"), "--seconds", "1"])

    assert code == 2
    said = capfd.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_name_at_all_is_bad_usage(tmp_path: Path) -> None:
    done = run("record", "--out", "tape", cwd=tmp_path)

    assert done.code == 2
    assert "pmlive search" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_settled_market_is_not_recorded(tmp_path: Path) -> None:
    with venue() as sim:
        sim.resolve(sim.markets[0], winner="Yes")
        done = run("record", sim.markets[0].slug, "--out", "tape", cwd=tmp_path, env=sim.environment())

    assert done.code == 2
    assert "closed" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_market_without_token_ids_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with venue() as sim:
        bare = sim.markets[0]
        sim.fault("no_ids", channel="gamma", token_id=bare.token_ids[0], seconds=600)
        done = run("record", bare.slug, "--out", "tape", "--seconds", 5, cwd=tmp_path, env=sim.environment())

        assert (done.code, done.out) == (2, "")
        assert f"'{bare.slug}' is listed without token ids" in done.err
        assert list(tmp_path.iterdir()) == []
        assert not sim.connections


def test_an_event_is_recorded_without_the_market_that_has_no_token_ids_and_says_so(tmp_path: Path) -> None:
    with venue() as sim:
        whole, bare = sim.markets
        sim.fault("no_ids", channel="gamma", token_id=bare.token_ids[0], seconds=600)
        arguments = ("record", whole.event_slug, "--out", "tape", "--seconds", 1.5, "-o", "json")
        done = run(*arguments, cwd=tmp_path, env=sim.environment())

    assert done.code == 0, done.err
    assert f"{bare.slug} is listed without token ids for now" in done.err
    assert done.object["markets"] == [whole.slug]


@pytest.mark.quick(1)
@pytest.mark.parametrize("by", ["slug", "condition id", "token id"])
def test_a_market_of_protocol_v2_is_recorded_by_any_of_its_names(by: str, tmp_path: Path) -> None:
    with venue(v2=1) as sim:
        market = sim.markets[1]
        name = {"slug": market.slug, "condition id": market.condition_id, "token id": market.token_ids[0]}[by]
        done = run("record", name, "--out", "tape", "--seconds", 1, "-o", "json", cwd=tmp_path, env=sim.environment())

    assert done.code == 0, done.err
    [recorded] = info(tmp_path / "tape").markets
    assert (recorded.version, recorded.token_ids) == ("v2", list(market.token_ids))
    assert done.object["proved"]["hash_verified"] > 0


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tape").write_text("mine")

    done = run("record", "--venue", "sim", "--out", "tape", "--seconds", 1, cwd=tmp_path)

    assert done.code == 2
    assert "is not a folder" in done.err
    assert (tmp_path / "tape").read_text() == "mine"


def test_a_series_is_recorded_from_its_present_market_on(tmp_path: Path) -> None:
    done = run("record", "btc-updown-5m", "--venue", "sim", "--out", "tape", "--seconds", 2, "-o", "json", cwd=tmp_path)

    assert done.object["markets"]
    assert all(slug.startswith("btc-updown-5m-") for slug in done.object["markets"])


def test_the_simulated_venue_is_recorded_whole_unless_told_otherwise(tmp_path: Path) -> None:
    done = run("record", "--venue", "sim", "--seconds", 1, cwd=tmp_path, env={"PMLIVE_DATA_DIR": str(tmp_path)})

    assert done.code == 0, done.err
    assert done.out.startswith("recorded 3 markets for ")
    assert "nothing was missed" in done.out
    assert len([path for path in tmp_path.iterdir() if (path / "manifest.json").exists()]) == 1


def test_hostile_titles_reach_no_terminal(tmp_path: Path) -> None:
    with venue(hostile_titles=True) as sim:
        hostile = next(market for market in sim.markets if market.question == HOSTILE_TITLE)
        found = run("search", hostile.condition_id, cwd=tmp_path, env=sim.environment())
        run("record", hostile.condition_id, "--out", "tape", "--seconds", 1, cwd=tmp_path, env=sim.environment())
    described = run("info", "tape", cwd=tmp_path)

    for text in (found.out, described.out):
        assert "zero width" in text
        assert not set(text) & {"\x1b", "\u202e", "\u200b", "\x00", "\x07", "\r"}


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_a_terminal_is_shown_the_progress(tmp_path: Path) -> None:
    main, other = os.openpty()
    arguments = ["record", "--venue", "sim", "--out", "tape", "--seconds", "1.5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pmlive", *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=other
    )
    os.close(other)

    shown = b""
    try:
        while chunk := os.read(main, 4096):
            shown += chunk
    except OSError:  # the other end was closed
        pass
    os.close(main)

    assert process.wait(40) == 0
    assert b"messages/s" in shown
    assert b"verified" in shown  # a row of the table
