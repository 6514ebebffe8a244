"""Beliefs, decided events, and tapes of simulated markets: all without a server."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pmlive as pm
from pmlive.captures import import_capture
from pmlive.markets import FeeSchedule
from pmlive.sim import Beliefs, Market, Tape, decided_events, event_markets, rolling_market

_AT = 1_795_000_000_000

_priors = st.lists(st.integers(1, 20), min_size=2, max_size=6).map(lambda parts: [part / sum(parts) for part in parts])


def market(seed: int = 7) -> Market:
    (made,) = event_markets("Will it snow?", {"": "Will it snow?"}, seed=seed)
    return made


def recorded(tape: Tape, folder: Path, **options: object) -> pm.Recording:
    tape.write(folder / "tape.jsonl")
    import_capture(folder / "tape.jsonl", folder / "night", **options)  # pyright: ignore[reportArgumentType]  # a test's own
    return pm.open_recording(folder / "night")


# --- beliefs ---


@given(_priors, st.integers(0, 999), st.lists(st.floats(0, 0.5), max_size=20))
def test_chances_add_up_to_one_whatever_the_evidence(prior: list[float], seed: int, evidence: list[float]) -> None:
    beliefs = Beliefs(prior, seed=seed)

    assert beliefs.chances == pytest.approx(prior)
    for amount in evidence:
        beliefs.learn(amount)
        assert sum(beliefs.chances) == pytest.approx(1)


def test_beliefs_are_calibrated_and_a_martingale() -> None:
    """With a prior of 0.3, the mean of 4,000 later beliefs is 0.3 give or take 0.01, and so is the share of truths."""
    ends, truths, squares = list[float](), list[int](), list[float]()
    for seed in range(4_000):
        beliefs = Beliefs([0.3, 0.5, 0.2], seed=seed)
        path = [0.3]
        for _ in range(3):
            beliefs.learn(0.3)
            path.append(beliefs.chances[0])
        ends.append(path[-1])
        truths.append(int(beliefs.truth == 0))
        moved = sum((now - was) ** 2 for was, now in pairwise(path))
        squares.append(moved - (path[0] * (1 - path[0]) - path[-1] * (1 - path[-1])))

    assert sum(ends) / 4_000 == pytest.approx(0.3, abs=0.015)
    sure = [truth for end, truth in zip(ends, truths, strict=True) if end > 0.8]
    assert sum(sure) / len(sure) == pytest.approx(sum(end for end in ends if end > 0.8) / len(sure), abs=0.04)
    assert sum(squares) / 4_000 == pytest.approx(0, abs=0.006)


def test_much_evidence_finds_the_true_outcome() -> None:
    for seed in range(20):
        beliefs = Beliefs([0.1, 0.2, 0.7], seed=seed)
        beliefs.learn(60)
        assert beliefs.chances[beliefs.truth] > 0.999


@pytest.mark.parametrize("prior", [[1.0], [0.5, 0.6], [0.0, 1.0]])
def test_an_invalid_prior_is_refused(prior: list[float]) -> None:
    with pytest.raises(ValueError, match="expected two or more positive numbers"):
        Beliefs(prior, seed=1)


# --- histories ---


def test_one_outcome_of_each_decided_event_was_true() -> None:
    quotes, decided = decided_events(40, seed=3, hours=24)

    won: dict[str, int] = {}
    for each in decided:
        won[each.event] = won.get(each.event, 0) + each.outcome
    several = {event for event in won if sum(each.event == event for each in decided) > 1}
    assert several
    assert all(won[event] == 1 for event in several)
    assert {quote.token_id for quote in quotes} == {each.token_id for each in decided}
    assert all(quote.best_bid < quote.best_ask for quote in quotes if quote.best_bid and quote.best_ask)
    assert all(quote.ts_recv < each.ts_recv for quote in quotes for each in decided[:1])


def test_long_shots_cost_more_where_beliefs_are_stretched() -> None:
    fair, dear = (decided_events(60, seed=3, hours=8, stretch=stretch) for stretch in (1.0, 0.7))

    assert fair[1] == dear[1]
    pairs = [(one.mid, two.mid) for one, two in zip(fair[0], dear[0], strict=True) if one.mid and two.mid]
    assert all(two >= one for one, two in pairs if one < 0.1)
    assert any(two > one for one, two in pairs if one < 0.1)


# --- tapes ---


def test_a_tape_becomes_a_recording_that_is_proved_and_named(tmp_path: Path) -> None:
    tape, made = Tape(seed=7), market()
    tape.add(made, _AT)
    for number in range(300):
        tape.step(made.slug, _AT + 20 * number)
    fees = FeeSchedule(enabled=True, rate=0.04, exponent=1)
    named = pm.Market(
        condition_id=made.condition_id,
        slug=made.slug,
        outcomes=list(made.outcomes),
        token_ids=list(made.token_ids),
        neg_risk_augmented=True,
        fees=fees,
    )
    other = pm.Market(condition_id="0xother", slug="other")

    night = recorded(tape, tmp_path, markets=[named, other], level=19)

    quality = night.quality()
    assert night.verify().ok
    assert night.gaps.height == 0
    assert quality.checks.hash_verified > 200
    assert quality.checks.hash_mismatch == 0
    (told,) = night.markets
    assert (told.slug, told.token_of("no"), told.neg_risk_augmented) == (made.slug, made.token_ids[1], True)
    assert told.fees == fees


def test_the_same_seed_makes_the_same_recording(tmp_path: Path) -> None:
    digests = list[str]()
    for place in ("one", "two"):
        tape, made = Tape(seed=3), market(3)
        tape.add(made, _AT)
        for number in range(80):
            tape.step(made.slug, _AT + 50 * number)
        (tmp_path / place).mkdir()
        digests.append(recorded(tape, tmp_path / place).digest())

    assert digests[0] == digests[1]


def test_what_happens_while_the_connection_is_lost_is_a_gap(tmp_path: Path) -> None:
    tape, made = Tape(seed=7), market()
    tape.add(made, _AT)
    for number in range(100):
        at = _AT + 100 * number
        if number == 40:
            tape.lose(at, seconds=2)
        tape.step(made.slug, at)

    night = recorded(tape, tmp_path)

    assert set(night.gaps["cause"]) == {"disconnect"}
    lengths = (night.gaps["ended"] - night.gaps["started"]).dt.total_milliseconds()
    assert all(2_000 < length < 2_300 for length in lengths)
    assert night.verify().ok


def test_a_message_that_is_skipped_is_noticed(tmp_path: Path) -> None:
    tape, made = Tape(seed=7), market()
    tape.add(made, _AT)
    for number in range(200):
        if number == 40:
            tape.fault("skip")
        tape.step(made.slug, _AT + 100 * number)

    night = recorded(tape, tmp_path)

    assert set(night.gaps["cause"]) == {"mismatch"}


def test_makers_who_follow_a_belief_quote_it_at_once(tmp_path: Path) -> None:
    tape = Tape(seed=7, depth=6)
    made = rolling_market("btc-updown-5m-1795000200", seed=7)
    assert made is not None
    chance = {_AT: 0.5, _AT + 1000: 0.71, _AT + 2000: 0.32}
    tape.add(made, _AT, belief=lambda at: chance[at // 1000 * 1000])
    for at in (_AT + 1000, _AT + 2000):
        tape.requote(made.slug, at)
    tape.close(made.slug, _AT + 2500)
    tape.resolve(made.slug, _AT + 2600, winner="Down")

    night = recorded(tape, tmp_path)

    for at, expected in ((_AT + 1900, 0.71), (_AT + 2400, 0.32)):
        book = night.book_at(made.token_of("Up"), at * 1_000_000)
        assert book.best_bid is not None
        assert book.best_ask is not None
        assert book.best_bid <= expected <= book.best_ask
        assert book.best_ask - book.best_bid <= 0.03
    events = night.scan("market_events").collect()
    assert events["winning_outcome"].to_list() == ["Down"]


def test_makers_who_withdraw_widen_the_spread(tmp_path: Path) -> None:
    tape, made = Tape(seed=7, depth=8), market()
    tape.add(made, _AT)
    tape.withdraw(made.slug, _AT + 1000, levels=3)
    tape.withdraw(made.slug, _AT + 2000, levels=50)
    tape.step(made.slug, _AT + 3000)

    night = recorded(tape, tmp_path)

    before, after, last = (night.book_at(made.token_ids[0], (_AT + at) * 1_000_000) for at in (900, 1900, 2900))
    assert after.bids == before.bids[3:]
    assert after.asks == before.asks[3:]
    assert (last.bids, last.asks) == (before.bids[-1:], before.asks[-1:])


def test_frames_of_other_sources_are_sorted_by_receive_time(tmp_path: Path) -> None:
    tape, made = Tape(seed=7), market()
    tape.add(made, _AT)
    tape.step(made.slug, _AT + 1000)
    tape.say('{"topic":"crypto_prices"}', (_AT + 500) * 1_000_000)

    tape.write(tmp_path / "tape.jsonl")

    lines = [json.loads(line) for line in (tmp_path / "tape.jsonl").read_text().splitlines()]
    assert [line["channel"] for line in lines][:2] == ["market", "realtime"]
    assert [line["ts_recv"] for line in lines] == sorted(line["ts_recv"] for line in lines)


def test_times_that_go_back_are_refused() -> None:
    tape, made = Tape(seed=7), market()
    tape.add(made, _AT)

    with pytest.raises(ValueError, match="times must not go back"):
        tape.step(made.slug, _AT - 1)
