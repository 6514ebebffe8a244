"""What a person tries on the real venue is tried on a simulated one, so that the trial itself is known to work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import liveness
from support.live import address

from pmlive.credentials import Credentials
from pmlive.manager import Manager
from pmlive.settings import Variables, Venue
from pmlive.sim import SimulatedVenue

_FILE = Path(__file__).parent / "test_live_venue.py"


def test_the_trial_of_the_real_venue_passes_on_a_simulated_one() -> None:
    with SimulatedVenue(markets=3, rate=200, v2=1) as sim, Manager(address(sim)) as manager:
        markets = liveness.open_markets(manager)
        assert len(markets) == 3
        for market in markets:
            liveness.ids_resolve(manager, market)
        liveness.books_come(manager, liveness.watched(manager, markets))
        liveness.hashes_verify(manager)
        newest = liveness.of_protocol_v2(manager)
        assert newest is not None
        assert newest.token_ids == list(sim.markets[2].token_ids)


def test_a_reference_price_comes_from_the_simulated_venue() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim:
        variables = {f"POLYMARKET_{name.upper()}": getattr(sim.credentials, name) for name in ("secret", "passphrase")}
        variables |= {"POLYMARKET_API_KEY": sim.credentials.api_key}
        found = Credentials.from_environment(Variables(variables), venue=address(sim))
        with Manager(address(sim), credentials=found) as manager:
            liveness.reference_price_comes(manager)


def test_the_trial_fails_where_no_book_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_PATIENCE", 0.5)
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim)) as manager:
        markets = liveness.open_markets(manager)
        sim.fault("no_opening", times=100)
        with pytest.raises(TimeoutError, match="every opening book"):
            liveness.books_come(manager, liveness.watched(manager, markets))
        with pytest.raises(TimeoutError, match="a hash of the venue"):
            liveness.hashes_verify(manager)


def test_a_venue_that_cannot_be_reached_is_named() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim:
        there = address(sim)
        assert liveness.reason_unreachable(there) == ""
    reason = liveness.reason_unreachable(Venue(gamma=there.gamma, clob=there.clob))

    assert reason.startswith("no network: 127.0.0.1:")


@pytest.mark.timeout(150)
@pytest.mark.parametrize("reachable", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_file_itself_runs_by_the_variables_of_a_venue(*, reachable: bool) -> None:
    with SimulatedVenue(markets=3, rate=200, v2=1) as sim:
        variables = sim.environment()
        done = _run(variables) if reachable else None
    done = done or _run(variables)

    assert done.returncode == 0, done.stdout
    assert ("3 passed, 1 skipped" if reachable else "4 skipped") in done.stdout
    assert ("no credentials: set POLYMARKET_API_KEY" if reachable else "no network: 127.0.0.1:") in done.stdout


def _run(variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | variables | {"PYTHONPATH": str(_FILE.parent)}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "live", "-p", "no:cacheprovider", str(_FILE)]
    kept = {name: value for name, value in environment.items() if not name.startswith(("POLYMARKET_", "POLYGON_"))}
    return subprocess.run(command, env=kept, capture_output=True, text=True, check=False, timeout=140)
