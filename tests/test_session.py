"""One connection as a state machine: what it sends, asks and doubts, by an invented clock."""

import itertools
import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support.examples import examples
from support.ws import books

from pmlive._session import UNANSWERED, Complaint, FetchBooks, Late, Redial, Session, State, Timing, Todo, Witness
from pmlive.events import Channel, Control, NewMarket

S = 1_000_000_000
SECRETS = {"api_key": "key", "secret": "hidden", "passphrase": "words"}


def opened(
    keys: Iterable[str] = ("1",), channel: Channel = "market", timing: Timing | None = None, now: int = 0
) -> Session:
    session = Session(channel, timing=timing, credentials=lambda: SECRETS)
    session.want(keys, now)
    session.connected(now)
    return session


def live(keys: tuple[str, ...] = ("1",), now: int = 0) -> Session:
    session = opened(keys, now=now)
    session.to_send()
    session.received(books(list(keys)), now)
    return session


def sent(session: Session) -> list[dict[str, object]]:
    return [json.loads(text) for text in session.to_send() if text != "PING"]


def ticked(session: Session, seconds: Iterable[int]) -> list[Todo]:
    for second in seconds:
        session.tick(second * S)
    return session.to_do()


def ids(frame: dict[str, object]) -> list[str]:
    found = frame.get("assets_ids")
    assert isinstance(found, list)
    return [str(each) for each in found]  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]


# --- subscribing ---


def test_only_the_first_frame_of_a_connection_has_a_type() -> None:
    session = opened(["1"])
    session.want(["2"], S)

    first, later = sent(session)

    assert first["type"] == "market"
    assert first["initial_dump"] is True
    assert first["custom_feature_enabled"] is True
    assert "operation" not in first
    assert later == {"operation": "subscribe", "assets_ids": ["2"], "custom_feature_enabled": True}


def test_a_second_connection_of_a_session_begins_with_a_type_again() -> None:
    session = opened(["1"])
    sent(session)

    session.disconnected()
    session.connected(5 * S)

    assert [frame.get("type") for frame in sent(session)] == ["market"]


@pytest.mark.parametrize("count", [1, 100, 101, 250])
def test_no_frame_names_more_than_a_hundred_ids(count: int) -> None:
    tokens = [str(number) for number in range(count)]
    session = opened(tokens)

    frames = sent(session)
    session.unwant(tokens)
    frames += sent(session)

    assert max(len(ids(frame)) for frame in frames) <= 100
    assert [token for frame in frames for token in ids(frame)] == tokens * 2


def test_nothing_is_sent_before_something_is_wanted() -> None:
    session = Session("market")
    session.connected(0)

    todo = ticked(session, range(60))

    assert session.to_send() == []
    assert todo == []


def test_a_token_that_is_wanted_already_is_not_asked_for_twice() -> None:
    session = opened(["1"])
    sent(session)

    session.want(["1", "2", "2"], S)

    assert [ids(frame) for frame in sent(session)] == [["2"]]


def test_what_is_wanted_while_there_is_no_socket_is_asked_for_when_there_is() -> None:
    session = opened(["1", "2"])
    session.disconnected()
    session.want(["3"], S)
    session.unwant(["1"])
    assert session.to_send() == []

    session.connected(2 * S)

    assert [ids(frame) for frame in sent(session)] == [["2", "3"]]


def test_a_token_nobody_wants_is_taken_back_once() -> None:
    session = live(("1", "2"))

    session.unwant(["1", "1", "9"])

    assert sent(session) == [{"operation": "unsubscribe", "assets_ids": ["1"]}]
    assert list(session.wanted) == ["2"]


def test_fresh_books_are_asked_for_by_taking_a_token_back_and_naming_it_again() -> None:
    session = live(("1", "2"))

    session.resync(["1", "9"], S)

    assert [frame["operation"] for frame in sent(session)] == ["unsubscribe", "subscribe"]
    assert session.waiting == ["1"]
    assert session.state is State.LIVE


def test_no_fresh_book_is_asked_for_without_a_socket() -> None:
    session = live()
    session.disconnected()

    session.resync(["1"], S)

    assert session.to_send() == []
    assert session.waiting == []


# --- heartbeat ---


def test_no_ping_goes_out_before_the_first_subscription() -> None:
    """PING first is answered with close 1008 (nautilus_trader#4864)."""
    session = Session("market")
    session.connected(0)
    ticked(session, range(30))
    assert session.to_send() == []

    session.want(["1"], 30 * S)
    first = session.to_send()
    session.received(books(["1"]), 31 * S)
    session.tick(34 * S)
    assert session.to_send() == []
    session.tick(35 * S)

    assert json.loads(first[0])["type"] == "market"
    assert session.to_send() == ["PING"]


def test_a_session_pings_every_ten_seconds() -> None:
    session = live()
    times: list[int] = []

    for second in range(1, 101):
        session.received("PONG", second * S)
        session.tick(second * S)
        times += [second for text in session.to_send() if text == "PING"]

    assert times == list(range(10, 101, 10))


def test_the_price_streams_are_pinged_in_their_own_words() -> None:
    session = opened(["price.crypto|btcusd"], "prices", Timing(ping=30 * S))
    session.to_send()

    session.tick(30 * S)

    assert session.to_send() == ['{"op":"ping","rid":"ping"}']


def test_nothing_at_all_after_a_ping_means_that_nobody_is_there() -> None:
    session = live()

    assert Redial not in {type(each) for each in ticked(session, range(1, 14))}
    (todo,) = ticked(session, [14])

    assert isinstance(todo, Redial)
    assert "ping" in todo.reason


@pytest.mark.parametrize("answer", ["PONG", books(["1"]), "garbage{", ""])
def test_any_frame_answers_a_ping(answer: str) -> None:
    session = live()
    session.tick(10 * S)

    session.received(answer, 19 * S)

    assert ticked(session, range(20, 29)) == []


PIECES = st.lists(st.integers(0, 3 * S), max_size=40)


@given(pieces=PIECES, phase=st.integers(1, S // 4), channel=st.sampled_from(["market", "realtime", "user", "prices"]))
def test_a_connection_that_nothing_comes_on_is_left_within_fifteen_seconds_of_the_last_byte(
    pieces: list[int], phase: int, channel: Channel
) -> None:
    """Whatever the phase of pings, ticks and bytes; and never while bytes flow, be they only a part of a frame."""
    session = opened(["price.crypto|btcusd" if channel == "prices" else "1"], channel)
    session.received('{"v":1,"op":"authed","rid":"auth"}' if channel == "prices" else "PONG", 0)
    came = list(itertools.accumulate(pieces))
    last, before = max([0, *came]), 0
    left: list[int] = []

    for now in range(phase, last + 16 * S, S // 4):
        if any(before < at <= now for at in came):
            session.alive(max(at for at in came if at <= now))
        session.tick(now)
        session.to_send()
        # A subscription that is not answered is another reason.
        left += [now for todo in session.to_do() if isinstance(todo, Redial) and "nothing came" in todo.reason]
        before = now

    assert left, "the connection was never left"
    assert last + 13 * S <= left[0] <= last + 14 * S


@given(st.integers(6 * S, 100_000 * S))
def test_a_pause_of_our_own_is_no_silence_of_the_venue(pause: int) -> None:
    """A process that was stopped, or a clock that was set ahead: what came meanwhile is not read yet."""
    session = live()
    session.tick(S)

    session.tick(S + pause)

    assert "PING" in session.to_send()
    assert not [todo for todo in session.to_do() if isinstance(todo, Redial)]
    for second in range(1, 15):
        session.tick(S + pause + second * S)
    assert [type(each) for each in session.to_do() if isinstance(each, Redial)] == [Redial]


def test_a_quiet_connection_is_pinged_early_and_not_again_before_the_answer() -> None:
    session = live()
    pings: list[int] = []

    for second in range(1, 10):
        session.tick(second * S)
        pings += [second for text in session.to_send() if text == "PING"]

    assert pings == [4]


def test_a_late_answer_does_not_excuse_the_next_silence() -> None:
    session = live()
    session.tick(10 * S)
    session.received("PONG", 12 * S)
    session.tick(20 * S)

    todo = ticked(session, range(21, 31))

    assert [type(each) for each in todo if isinstance(each, Redial)] == [Redial]


# --- opening books ---


def test_a_session_is_live_once_every_opening_book_is_there() -> None:
    session = opened(["1", "2"])

    session.received(books(["2"]), S)
    assert session.state is State.OPENING
    assert session.useful
    session.received(books(["1"]), S)

    assert session.state is State.LIVE
    assert session.waiting == []


def test_an_opening_book_that_stays_away_is_asked_for_again_and_then_by_rest() -> None:
    session = opened(["1", "2"])
    session.received(books(["2"]), S)
    sent(session)

    assert ticked(session, range(1, 10)) == []
    late = ticked(session, [10])
    assert late == [Late(["1"], since=0)]
    assert [frame["operation"] for frame in sent(session)] == ["unsubscribe", "subscribe"]
    session.received("PONG", 11 * S)
    assert ticked(session, range(11, 20)) == []
    assert ticked(session, [20]) == [FetchBooks(["1"])]
    session.received("PONG", 21 * S)
    assert ticked(session, range(21, 30)) == []
    assert ticked(session, [30]) == [FetchBooks(["1"])]
    assert sent(session) == []


def test_a_book_by_another_way_ends_the_wait() -> None:
    session = opened(["1"])

    session.booked("1")

    assert session.state is State.LIVE
    assert FetchBooks not in {type(each) for each in ticked(session, range(1, 20))}
    assert not session.useful


def test_late_tokens_are_reported_once_each_with_the_time_they_were_asked_for() -> None:
    session = opened(["1", "2"])
    session.want(["3"], 4 * S)
    late: list[Late] = []

    for second in range(1, 60):
        session.received("PONG", second * S)
        session.tick(second * S)
        late += [each for each in session.to_do() if isinstance(each, Late)]

    assert late == [Late(["1", "2"], since=0), Late(["3"], since=4 * S)]


def test_a_fresh_book_that_stays_away_is_late_as_well() -> None:
    session = live()
    session.resync(["1"], 5 * S)
    session.received("PONG", 14 * S)

    assert ticked(session, [15]) == [Late(["1"], since=5 * S)]


def test_taking_back_the_last_missing_token_makes_a_session_live() -> None:
    """Found by reading: the session stayed in OPENING, where silence is never noticed."""
    session = opened(["1", "2"])
    session.received(books(["1"]), S)

    session.unwant(["2"])

    assert session.state is State.LIVE
    assert session.waiting == []


# --- silence ---


def silent(session: Session, until: int = 31) -> list[Todo]:
    todo: list[Todo] = []
    for second in range(1, until):
        session.received("PONG", second * S)
        session.tick(second * S)
        todo += session.to_do()
    return todo


def test_answers_to_pings_are_no_data() -> None:
    session = live()

    assert silent(session, 30) == []
    assert silent(session) == [Witness(since=0)]
    assert session.state is State.SILENT
    assert [todo for todo in silent(session, 90) if isinstance(todo, Witness)] == [Witness(since=0)]


def test_markets_made_elsewhere_are_no_data() -> None:
    """``new_market`` goes to every connection, so it flows while the books are frozen."""
    session = live()
    made = json.dumps(
        {"event_type": "new_market", "market": "0xn", "assets_ids": ["7", "8"], "timestamp": "1790000000000"}
    )

    todo: list[Todo] = []
    for second in range(1, 31):
        (event,) = session.received(made, second * S)
        assert isinstance(event, NewMarket)
        session.tick(second * S)
        todo += session.to_do()

    assert todo == [Witness(since=0)]


def test_data_ends_a_silence() -> None:
    session = live()
    silent(session)

    session.received(books(["1"]), 31 * S)

    assert session.state is State.LIVE


def test_a_calm_that_rest_confirms_is_waited_out_again() -> None:
    session = live()
    silent(session)

    session.witnessed(35 * S)
    session.received("PONG", 60 * S)
    assert session.state is State.LIVE
    session.tick(64 * S)
    assert Witness not in {type(each) for each in session.to_do()}
    session.received("PONG", 65 * S)
    session.tick(65 * S)

    assert Witness(since=35 * S) in session.to_do()


def test_a_connection_that_nobody_wants_anything_of_is_not_silent() -> None:
    session = live()
    session.unwant(["1"])

    silent(session, 120)

    assert session.state is State.LIVE


@pytest.mark.parametrize(("key", "patience"), [("crypto_prices|btcusdt", 30), ("activity|fed", 600)])
def test_the_realtime_socket_is_left_for_another_when_it_freezes(key: str, patience: int) -> None:
    """RTDS freezes each 14 to 63 minutes and goes on answering pings (real-time-data-client PR#25)."""
    session = opened([key], "realtime")
    session.received('{"topic":"activity"}', 0)

    todo = silent(session, patience)
    assert todo == []
    redial = silent(session, patience + 2)

    assert Redial in {type(each) for each in redial}


def test_words_are_events_but_no_data() -> None:
    session = live()

    events = session.received("INVALID OPERATION", 5 * S)

    assert events == [Control("error", "INVALID OPERATION")]
    assert [each for each in silent(session) if not isinstance(each, Complaint)] == [Witness(since=0)]


# --- the user channel ---


def test_credentials_go_with_the_first_frame_and_no_other() -> None:
    session = opened(["0xa"], "user")
    session.want(["0xb"], S)
    session.unwant(["0xa"])

    first, more, less = sent(session)

    assert first == {
        "type": "user",
        "auth": {"apiKey": "key", "secret": "hidden", "passphrase": "words"},
        "markets": ["0xa"],
    }
    assert more == {"operation": "subscribe", "markets": ["0xb"]}
    assert less == {"operation": "unsubscribe", "markets": ["0xa"]}


def test_everything_of_a_user_is_asked_for_by_naming_no_market() -> None:
    session = Session("user", credentials=lambda: SECRETS)
    session.everything = True
    session.want(["0xa"], 0)
    session.connected(0)

    (first,) = sent(session)
    session.want(["0xb"], S)
    session.unwant(["0xa", "0xb"])

    assert "markets" not in first
    # To name a market now could narrow what is told.
    assert sent(session) == []


def test_a_user_socket_that_answers_has_proved_useful() -> None:
    session = opened(["0xa"], "user")
    assert not session.useful

    session.received("PONG", 10 * S)

    assert session.useful


def test_an_answer_proves_nothing_on_the_market_channel() -> None:
    session = opened(["1"])

    session.received("PONG", 10 * S)
    session.received("[]\n", 10 * S)

    assert not session.useful


# --- the real-time sockets ---


def test_realtime_topics_are_subscribed_one_frame_each() -> None:
    """One bad topic in an array silences the whole array."""
    session = opened(["activity|fed-decision", "crypto_prices_chainlink|btc/usd", "crypto_prices|btcusdt"], "realtime")
    session.unwant(["activity|fed-decision"])

    *asked, gone = sent(session)

    def item(topic: str, filters: str, kind: str = "*") -> dict[str, str]:
        return {"topic": topic, "type": kind, "filters": filters}

    assert [frame["subscriptions"] for frame in asked] == [
        [item("activity", '{"event_slug":"fed-decision"}')],
        [item("crypto_prices_chainlink", '{"symbol":"btc/usd"}')],
        [item("crypto_prices", "btcusdt", "update")],
    ]
    assert gone["action"] == "unsubscribe"


# --- any sequence ---


class Subscriptions(RuleBasedStateMachine):
    """What a server that keeps count is left with is what is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session("market")
        self.now = 0
        self.wanted: set[str] = set()
        self.served: set[str] | None = None
        self.begun = False

    tokens = st.lists(st.integers(0, 250).map(str), max_size=150)

    def take(self) -> None:
        for text in self.session.to_send():
            if text == "PING":
                assert self.begun
                continue
            frame = json.loads(text)
            named = frame["assets_ids"]
            assert self.served is not None
            assert len(named) <= 100
            assert len(set(named)) == len(named)
            assert ("type" in frame) is not self.begun
            self.begun = True
            if frame.get("operation") == "unsubscribe":
                assert self.served >= set(named)
                self.served -= set(named)
            else:
                assert self.served.isdisjoint(named)
                self.served |= set(named)

    @rule(tokens=tokens)
    def want(self, tokens: list[str]) -> None:
        self.session.want(tokens, self.now)
        self.wanted |= set(tokens)

    @rule(tokens=tokens)
    def unwant(self, tokens: list[str]) -> None:
        self.session.unwant(tokens)
        self.wanted -= set(tokens)

    @rule(tokens=tokens)
    def resync(self, tokens: list[str]) -> None:
        self.session.resync(dict.fromkeys(tokens), self.now)

    @precondition(lambda self: self.served is None)
    @rule()
    def connected(self) -> None:
        self.served, self.begun = set(), False
        self.session.connected(self.now)

    @precondition(lambda self: self.served is not None)
    @rule(sends=st.booleans())
    def disconnected(self, sends: bool) -> None:  # noqa: FBT001  # drawn
        if sends:
            self.take()
        self.session.disconnected()
        self.served = None

    @precondition(lambda self: self.served is not None)
    @rule(tokens=tokens)
    def books(self, tokens: list[str]) -> None:
        self.session.received(books(tokens), self.now)

    @rule(seconds=st.integers(0, 40))
    def tick(self, seconds: int) -> None:
        self.now += seconds * S
        self.session.tick(self.now)
        for todo in self.session.to_do():
            if isinstance(todo, (Late, FetchBooks)):
                assert set(todo.token_ids) <= self.wanted

    @invariant()
    def the_frames_net_out_to_what_is_wanted(self) -> None:
        self.take()
        assert set(self.session.wanted) == self.wanted
        assert self.served in (None, self.wanted)
        assert set(self.session.waiting) <= self.wanted
        if self.served is not None and not self.session.waiting and self.begun:
            assert self.session.state is not State.OPENING


def test_any_sequence_leaves_the_server_with_what_is_wanted() -> None:
    run_state_machine_as_test(Subscriptions, settings=settings(examples(60), stateful_step_count=40))


# --- credentials ---


def user(timing: Timing | None = None) -> Session:
    session = Session("user", timing=timing, credentials=lambda: SECRETS)
    session.everything = True
    session.connected(0)
    session.to_send()
    return session


REFUSALS = {
    '{"error":"invalid api key"}': "invalid api key",
    '{"error":{"code":401,"message":"no such key"}}': "no such key",
    '{"message":"Forbidden","requestId":"x"}': "Forbidden",
    '{"type":"error","message":"who are you"}': "who are you",
    '{"event_type":"error","msg":"bad credentials"}': "bad credentials",
    '{"status":"error","reason":"nope"}': "nope",
    '{"success":false,"errorMsg":"not enough"}': "not enough",
    '{"code":401}': "401",
    '[{"error":"in a list"}]': "in a list",
    "invalid api key": "invalid api key",
    "Unauthorized: the key is not known (1).": "the key is not known",
    '"unauthorized"': "unauthorized",
}


@pytest.mark.parametrize("text", REFUSALS)
def test_words_before_any_data_refuse_the_credentials(text: str) -> None:
    session = user()

    session.received(text, S)

    assert REFUSALS[text] in session.refusal
    assert not session.useful
    assert not session.accepted
    assert {type(todo) for todo in session.to_do()} == {Complaint, Redial}


@pytest.mark.parametrize("text", ["PONG", "[]"])
def test_an_answer_to_a_ping_accepts_the_credentials(text: str) -> None:
    session = user()

    session.received(text, S)

    assert session.useful
    assert session.accepted
    assert session.refusal == ""


@pytest.mark.parametrize("text", ["", '{"status":"ok"}', "garbage{", '{"new":"thing"}'])
def test_what_is_neither_an_answer_nor_data_proves_nothing(text: str) -> None:
    session = user()

    session.received(text, S)

    assert not session.useful
    assert session.refusal == ""


@pytest.mark.parametrize(
    "text", ['{"message":"Internal server error"}', '{"error":"too many requests"}', "rate limit hit"]
)
def test_trouble_of_the_venue_is_no_refusal_of_credentials(text: str) -> None:
    session = user()

    session.received(text, S)

    assert session.refusal == ""
    assert not session.useful


def test_words_take_back_what_an_answer_to_a_ping_seemed_to_prove() -> None:
    session = user()
    session.received("PONG", S)

    session.received('{"error":"invalid api key"}', 2 * S)

    assert not session.useful
    assert session.refusal == "invalid api key"


def test_credentials_that_get_no_answer_at_all_are_doubted_within_four_seconds() -> None:
    session = opened(["0xm"], "user")
    session.to_send()

    assert ticked(session, [1, 2, 3]) == []
    assert ticked(session, [4]) == [Redial(f"the credentials were refused: {UNANSWERED}")]


def test_a_user_channel_is_greeted_with_a_ping_after_the_credentials() -> None:
    session = user()
    session.tick(S)
    assert session.to_send() == ["PING"]


def test_once_accepted_silence_says_nothing_of_the_credentials() -> None:
    session = user()
    session.received("PONG", S)
    session.disconnected()

    session.connected(10 * S)
    ticked(session, range(11, 20))

    assert session.refusal == ""


@pytest.mark.parametrize(
    "words",
    ["invalid api key '{api_key}'", "the passphrase {passphrase} is wrong", "key {api_key}: {secret}", "{head}"],
)
def test_the_words_of_the_venue_are_shown_without_the_credentials_in_them(words: str) -> None:
    secrets = {
        "api_key": "11111111-2222-4333-8444-555555555555",
        "secret": "c2VjcmV0LWNhbmFyeQ==",
        "passphrase": "canary",
    }
    session = Session("user", credentials=lambda: secrets)
    session.everything = True
    session.connected(0)

    text = words.format(**secrets, head="no such key: 11111111-2222")
    session.received(json.dumps({"error": text}), S)

    assert session.refusal
    assert not [secret for secret in secrets.values() if secret in session.refusal or secret[:8] in session.refusal]


def test_hostile_words_are_one_short_line() -> None:
    session = user()

    session.received(json.dumps({"error": "a\x1b[31m\nb\u202e" + "x y " * 500}), S)

    assert session.refusal.startswith("a[31m b")
    assert session.refusal.isprintable()
    assert len(session.refusal) <= 200


@pytest.mark.parametrize("channel", ["market", "realtime"])
def test_words_on_a_public_channel_are_told_and_refuse_nothing(channel: Channel) -> None:
    session = opened(["activity|fed"], channel)

    events = session.received('{"message": "Invalid request body", "connectionId":"x"}', S)

    assert events == [Control("error", "Invalid request body")]
    assert session.to_do() == [Complaint("Invalid request body")]
    assert session.refusal == ""


def test_a_connection_is_complete_up_to_its_last_data_answered_ping_or_witness() -> None:
    began = 1_790_000_000 * S
    session = live(now=began)
    entry = {"asset_id": "1", "price": "0.5", "size": "1", "side": "BUY"}
    sent_at = str((began + 4 * S) // 1_000_000)
    change = {"event_type": "price_change", "market": "m", "timestamp": sent_at, "price_changes": [entry]}
    assert session.complete_until == began

    session.received(json.dumps(change), began + 5 * S)
    assert session.complete_until == began + 4 * S  # it was on its way for a second

    session.tick(began + 10 * S)
    session.received("PONG", began + 12 * S)
    assert session.complete_until == began + 10 * S  # what was sent before the ping came before its answer

    for second in range(13, 40):
        session.received("PONG", began + second * S)
        session.tick(began + second * S)
    assert session.complete_until == began + 4 * S  # it may be frozen, though pings are answered

    session.witnessed(began + 41 * S)
    assert session.complete_until == began + 41 * S


@pytest.mark.parametrize("between", [0, 1, 40])
def test_a_book_tells_no_more_of_what_has_come_than_the_change_before_it(between: int) -> None:
    """Both waited to be read while the process did not run; what was sent after the change is still to come."""
    began = 1_790_000_000 * S
    session = live(now=began)
    entry = {"asset_id": "1", "price": "0.5", "size": "1", "side": "BUY"}
    woke = began + 9 * S

    for late in range(between + 1):
        sent_at = str((began + 2 * S + late) // 1_000_000)
        change = {"event_type": "price_change", "market": "m", "timestamp": sent_at, "price_changes": [entry]}
        session.received(json.dumps(change), woke + late)
    session.received(books(["1"]), woke + between + 1)

    assert session.complete_until < began + 3 * S
    session.tick(woke + S)
    assert session.complete_until < began + 3 * S


@pytest.mark.parametrize("requested", ["at first", "later", "again"])
@pytest.mark.parametrize("late", [0, 2, 12])
def test_an_opening_book_that_is_read_late_may_have_been_sent_as_soon_as_it_was_requested(
    requested: str, late: int
) -> None:
    """What was sent after it may be lost with the connection, and the book does not say when it was sent."""
    began = 1_790_000_000 * S
    session = Session("market", timing=Timing(opening=5 * S))
    session.want(["1", "2"], began)
    session.connected(began)
    if requested == "later":
        session.received(books(["1", "2"]), began + S)
        session.want(["3"], began + 2 * S)
    elif requested == "again":
        session.received(books(["1", "2"]), began + S)
        session.resync(["2"], began + 2 * S)
    asked = began if requested == "at first" else began + 2 * S
    read = asked + late * S
    for second in range(late):
        session.tick(asked + second * S)

    session.received(books({"at first": ["1"], "later": ["3"], "again": ["2"]}[requested]), read)

    assert session.complete_until == asked
    # A book that nobody requested, such as one after a trade, does not say when it was sent either.
    session.received(books(["1"]), read + 1)
    assert session.complete_until == asked
    entry = {"asset_id": "1", "price": "0.5", "size": "1", "side": "BUY"}
    change = {
        "event_type": "price_change",
        "market": "m",
        "timestamp": str(read // 1_000_000),
        "price_changes": [entry],
    }
    session.received(json.dumps(change), read + S // 2)
    assert session.complete_until == read
    session.received(books(["1"]), read + 50 * S)
    assert session.complete_until == read + 50 * S - S // 2


def test_what_nobody_can_read_is_no_sign_that_data_flows() -> None:
    session = live()

    for second in range(1, 31):
        session.received('{"event_type":"renamed","x":1}', second * S)
        session.tick(second * S)

    assert Witness(since=0) in session.to_do()
