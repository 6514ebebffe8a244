"""The catalogue of faults: each case over real sockets and in real processes, judged by the venue's own account."""

from pathlib import Path

import msgspec
import pytest
from commands import run

from pmlive.cli.faults import CATALOGUE, Expected, FaultCase, Outcome, attempt, attempt_all, report
from pmlive.sim import SimulatedVenue

_NAMES = [case.name for case in CATALOGUE]
_BY_NAME = {case.name: case for case in CATALOGUE}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """Try all cases that were asked for, side by side: most of their time is waiting."""
    wanted = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and "outcomes" in item.fixturenames
    ]
    return {outcome.name: outcome for outcome in attempt_all([_BY_NAME[name] for name in wanted])}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", _NAMES)
def test_a_fault_has_the_outcome_that_it_must(name: str, outcomes: dict[str, Outcome], tmp_path: Path) -> None:
    """Six cases at a time are much for a small computer: one that did not hold is tried again by itself."""
    complaints = outcomes[name].complaints
    for again in ("second", "third"):
        if complaints:
            (tmp_path / again).mkdir()
            complaints = attempt(_BY_NAME[name], tmp_path / again).complaints

    assert complaints == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name",
    ["close with 1012", pytest.param("half of a JSON text", marks=pytest.mark.slow), "stopped for 7 s, little comes"],
)
def test_a_quick_case_holds(name: str, tmp_path: Path) -> None:
    outcome = attempt(_BY_NAME[name], tmp_path)

    assert outcome.complaints == []
    assert outcome.code in (0, 1)
    assert outcome.recovered_after is not None


@pytest.mark.timeout(180)
def test_a_fault_without_its_gap_does_not_hold(tmp_path: Path) -> None:
    """Nothing happens, so that the gap that is expected is missing."""

    def inject(trial: object) -> None:
        del trial

    expected = Expected(causes=frozenset({"disconnect"}), refused="none", code=0)
    outcome = attempt(FaultCase(name="nothing", group="none", inject=inject, expected=expected), tmp_path)

    assert outcome.missed == 0
    assert outcome.complaints == [
        "no gap by disconnect; reported: none",
        "0 of 4 books have a gap that lasts; expected all",
    ]


def test_the_report_has_a_line_for_each_case_and_its_complaints_below() -> None:
    good = Outcome(name="one", group="message", lasted=1.0, missed=2, tokens=4, refused=4, recovered_after=0.5, code=1)
    bad = msgspec.structs.replace(good, name="other", complaints=["3 changes missed outside any gap"])

    lines = report([good, bad]).splitlines()

    assert lines[1].split() == ["held", "one", "2", "none", "4", "of", "4", "0.5", "s", "1"]
    assert lines[2].startswith("FAILED  other")
    assert lines[4:6] == ["other does not hold:", "  3 changes missed outside any gap"]
    assert lines[-1] == "2 faults, 1 held"
    assert bad.to_dict()["held"] is False


@pytest.mark.timeout(180)
def test_doctor_tries_the_faults_that_are_named(tmp_path: Path) -> None:
    done = run("doctor", "--faults", "close with 1000", "-o", "json", cwd=tmp_path)

    assert done.object["ok"] is (done.code == 0)
    (outcome,) = done.object["faults"]
    assert outcome["name"] == "close with 1000"
    assert outcome["held"] is True, outcome
    assert [gaps["cause"] for gaps in outcome["told"]] == ["disconnect"]


def test_a_fault_that_is_not_known_is_bad_usage(tmp_path: Path) -> None:
    done = run("doctor", "--faults", "earthquake", cwd=tmp_path)

    assert done.code == 2
    assert "no fault's name has 'earthquake'" in done.err


def test_every_case_has_a_name_of_its_own() -> None:
    assert len(_BY_NAME) == len(CATALOGUE)


def test_the_venue_s_account_has_what_was_withheld_and_every_book_there_was() -> None:
    with SimulatedVenue(markets=1, rate=0, keep_truth=True, clock=lambda: 1_790_000_000_000) as sim:
        token = sim.markets[0].token_ids[0]
        began = sim.history()[token]
        sim.fault("skip", times=100)
        sim.step(50)
        changes, now = sim.changes(), sim.history()[token]

    assert {change.token_id for change in changes} == set(sim.markets[0].token_ids)
    assert {change.at for change in changes} == {1_790_000_000_000}
    assert began.latest != now.latest
    for levels in (began.latest, now.latest):
        assert now.had(list(levels[0]), list(levels[1]), since=0, until=1_790_000_000_000)
    assert not began.had(*map(list, now.latest), since=0, until=1_790_000_000_000)
