"""``pmlive doctor``: what could stand in the way."""

from pathlib import Path

from commands import run, venue
from support.proxy import proxying

KEY = "12345678-1234-1234-1234-123456789abc"


def test_a_healthy_computer_has_no_problems(tmp_path: Path) -> None:
    done = run("doctor", "--venue", "sim", "-o", "json", cwd=tmp_path)

    assert done.code == 0, done.out
    checks = {check["name"]: check for check in done.object["checks"]}
    assert done.object["ok"] is True
    assert {"python", "pmlive", "polars", "disk", "credentials", "catalogue", "exchange", "clock", "books"} <= set(
        checks
    )
    assert checks["clock"]["state"] == "ok"


def test_a_venue_that_does_not_answer_is_a_problem_with_advice(tmp_path: Path) -> None:
    with venue() as sim:
        addresses = sim.environment()
    done = run("doctor", cwd=tmp_path, env=addresses)

    assert done.code == 1
    assert "problem  catalogue" in done.out
    assert "problem  books" in done.out
    assert "check the network" in done.out


def test_a_clock_that_is_off_is_a_warning(tmp_path: Path) -> None:
    with venue(clock=lambda: 1_700_000_000_000) as sim:
        done = run("doctor", "-o", "json", cwd=tmp_path, env=sim.environment())

    clock = next(check for check in done.object["checks"] if check["name"] == "clock")
    assert clock["state"] == "warning"
    assert "ahead of the venue's" in clock["found"]
    assert done.code == 0


def test_half_of_the_credentials_is_a_problem_and_none_of_it_is_shown(tmp_path: Path) -> None:
    done = run("doctor", "--venue", "sim", "-v", cwd=tmp_path, env={"POLYMARKET_API_KEY": KEY})

    assert done.code == 1
    assert "POLYMARKET_SECRET" in done.out
    assert KEY not in done.out + done.err


def test_whole_credentials_are_neither_shown_nor_tried(tmp_path: Path) -> None:
    secrets = {
        "POLYMARKET_API_KEY": KEY,
        "POLYMARKET_SECRET": "c2VjcmV0IHNlY3JldCBzZWNyZXQ=",
        "POLYMARKET_PASSPHRASE": "open-sesame",
    }

    done = run("doctor", "--venue", "sim", cwd=tmp_path, env=secrets)

    assert done.code == 0, done.out
    assert not any(secret in done.out + done.err for secret in secrets.values())


def test_the_proxy_that_is_used_is_named_without_its_password(tmp_path: Path) -> None:
    with proxying() as proxy:
        done = run("doctor", cwd=tmp_path, env={"HTTPS_PROXY": f"http://me:canary@{proxy.place}"})

    assert done.code == 1
    assert f"http://***@{proxy.place} (HTTPS_PROXY)" in done.out
    assert "canary" not in done.out + done.err
    assert {line.split()[1].partition(":")[0] for line in proxy.asked} >= {
        "clob.polymarket.com",
        "gamma-api.polymarket.com",
        "ws-subscriptions-clob.polymarket.com",
        "ws-live-data.polymarket.com",
        "ws-live-v2.polymarket.com",
    }


def test_a_proxy_that_cannot_be_used_is_a_problem_named_by_its_variable(tmp_path: Path) -> None:
    done = run("doctor", cwd=tmp_path, env={"HTTPS_PROXY": "http://me:canary@host:port"})

    assert done.code == 1
    assert "problem  proxy" in done.out
    assert "HTTPS_PROXY must have the form" in done.out
    assert "canary" not in done.out + done.err


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    done = run("doctor", "--venue", "sim", cwd=tmp_path, env={"PMLIVE_DATA_DIR": str(tmp_path / "data")})

    assert done.code == 1
    assert "problem  disk" in done.out
    assert "--out" in done.out


def test_the_checks_leave_nothing_behind(tmp_path: Path) -> None:
    run("doctor", "--venue", "sim", cwd=tmp_path, env={"PMLIVE_DATA_DIR": str(tmp_path / "data")})

    assert list(tmp_path.iterdir()) == []
