"""Questions to the catalogue, asked of a real server on loopback."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from support.http import Answer, Request, Server, serving

from pmlive.errors import FeedError, ProtocolError, UnknownMarketError
from pmlive.markets import Catalogue, Market, Policy, find, tradable
from pmlive.markets.http import Bucket, bucket_for
from pmlive.settings import Venue
from pmlive.sim import SimulatedVenue

T = TypeVar("T")

FIXTURES = Path(__file__).parent / "fixtures" / "markets"
CLOSED = json.loads((FIXTURES / "gamma_closed.json").read_bytes())
OPEN = json.loads((FIXTURES / "gamma_open.json").read_bytes())
EVENT = json.loads((FIXTURES / "gamma_event.json").read_bytes())
CLOB = json.loads((FIXTURES / "clob_open.json").read_bytes())
SEARCH = (FIXTURES / "gamma_search.json").read_bytes()

OPEN_TOKENS: list[str] = json.loads(OPEN["clobTokenIds"])
CLOSED_TOKENS: list[str] = json.loads(CLOSED["clobTokenIds"])
CLOB_TOKEN: str = CLOB["tokens"][0]["token_id"]
EVENT_SLUG = "democratic-presidential-nominee-2028"
ABSENT = Answer('{"type":"not found error","error":"slug not found"}', 404)
CLOUDFLARE = Answer(
    "<html>Sorry, you have been blocked. Your IP: 203.0.113.77</html>",
    403,
    {"content-type": "text/html", "cf-ray": "8c1d2e3f-AMS"},
)


def listed(request: Request) -> Answer:
    """Gamma's list of markets, which leaves closed ones out unless it is asked for them."""
    wanted = {*request.query.get("condition_ids", []), *request.query.get("clob_token_ids", [])}
    closed = request.query.get("closed") == ["true"]
    markets = [CLOSED] if closed else [OPEN, *EVENT["markets"]]
    return Answer(json.dumps([each for each in markets if wanted & {each["conditionId"], *tokens_of(each)}]))


def tokens_of(market: Mapping[str, str]) -> list[str]:
    return json.loads(market["clobTokenIds"])


DOCUMENTS = {
    f"/markets/slug/{CLOSED['slug']}": CLOSED,
    "/markets/1557558": OPEN,
    # Five-minute slugs are known as events only (pmxt#836).
    f"/events/slug/{OPEN['slug']}": OPEN["events"][0] | {"markets": [OPEN]},
    f"/events/slug/{EVENT_SLUG}": EVENT,
    f"/markets/{CLOB['condition_id']}": CLOB,
    f"/markets-by-token/{CLOB_TOKEN}": {"condition_id": CLOB["condition_id"]},
}


def venue_answer(request: Request) -> Answer:
    if request.path == "/markets":
        return listed(request)
    if request.path == "/public-search":
        return Answer(SEARCH if "bitcoin" in request.query["q"][0] else '{"events":null}')
    if request.path in DOCUMENTS:
        return Answer(json.dumps(DOCUMENTS[request.path]))
    return {"/time": Answer("1793000000"), "/book": book_answer(request)}.get(request.path, ABSENT)


def book_answer(request: Request) -> Answer:
    return Answer('{"bids": [] }\n') if request.query.get("token_id") == [OPEN_TOKENS[0]] else ABSENT


def at(server: Server) -> Venue:
    return Venue(clob=server.url, gamma=server.url)


def asked(
    server: Server,
    question: Callable[[Catalogue], Coroutine[Any, Any, T]],
    *,
    clock: Callable[[], float] = lambda: 0.0,
) -> T:
    """Ask one catalogue, which waits for nothing between its attempts."""
    policy = Policy(timeout=5, delays=lambda _attempt: 0.0)

    async def ask() -> T:
        async with Catalogue(at(server), policy=policy, clock=clock) as catalogue:
            return await question(catalogue)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("text", "slugs"),
    [
        (f"https://polymarket.com/event/{EVENT_SLUG}", [each["slug"] for each in EVENT["markets"]]),
        (f"polymarket.com/event/{EVENT_SLUG}/{EVENT['markets'][1]['slug']}", [EVENT["markets"][1]["slug"]]),
        (f"https://polymarket.com/event/{CLOSED['slug']}", [CLOSED["slug"]]),
        (EVENT_SLUG, [each["slug"] for each in EVENT["markets"]]),
        (CLOSED["slug"], [CLOSED["slug"]]),
        (OPEN["slug"], [OPEN["slug"]]),
        (OPEN["conditionId"], [OPEN["slug"]]),
        (CLOSED["conditionId"], [CLOSED["slug"]]),
        (OPEN_TOKENS[1], [OPEN["slug"]]),
        (CLOSED_TOKENS[1], [CLOSED["slug"]]),
        (CLOB["condition_id"], [CLOB["market_slug"]]),
        (CLOB_TOKEN, [CLOB["market_slug"]]),
        ("1557558", [OPEN["slug"]]),
        ("bitcoin above", ["bitcoin-above-64k-on-march-11"]),
        ("bitcoin", ["bitcoin-above-64k-on-march-11"]),
        ("no such words", []),
    ],
)
def test_a_market_is_found_by_whatever_names_it(text: str, slugs: list[str]) -> None:
    with serving(venue_answer) as server:
        found = asked(server, lambda catalogue: catalogue.find(text))

    assert [market.slug for market in found] == slugs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bitcoin-above-70k", "no market with the slug 'bitcoin-above-70k'; nearest: bitcoin-above-64k-on-march-11"),
        ("https://polymarket.com/event/nothing", "no market with the event 'nothing'; paste the address"),
        ("0x" + "ab" * 32, "no market with the condition id '0xabab.*'; check that it was copied whole"),
        ("9" * 77, "no market with the token id '9999.*'; check that it was copied whole"),
        ("btc-updown-5m", "no market with the series 'btc-updown-5m'; markets of a series are listed about a day"),
    ],
)
def test_an_unknown_market_is_named_with_what_to_do(text: str, message: str) -> None:
    with serving(venue_answer) as server, pytest.raises(UnknownMarketError, match=message):
        asked(server, lambda catalogue: catalogue.find(text))


@pytest.mark.parametrize(
    ("slug", "advice"),
    [
        ("will-it-rain-in-londno-on-new-years-eve", "nearest: will-it-rain-in-london-on-new-years-eve"),
        ("wil-it-rain-in-london-on-new-years-evee", "nearest: will-it-rain-in-london-on-new-years-eve"),
        ("will-the-fed-cut-rates-by-25-bsp-in-decembr", "nearest: will-the-fed-cut-rates-by-25-bps-in-december"),
        ("a-b", "paste the address"),
        ("will-the-zebras-of-patagonia-vote", "paste the address"),
    ],
)
def test_a_misspelt_slug_is_answered_with_what_is_like_it_and_one_like_nothing_with_what_to_do(
    slug: str, advice: str
) -> None:
    with SimulatedVenue(rate=0) as sim:
        venue = Venue(gamma=sim.urls.gamma, clob=sim.urls.clob)

        with pytest.raises(UnknownMarketError, match=f"no market with the slug {slug!r}; {advice}"):
            find(slug, venue)


def test_several_markets_are_found_together_in_order_and_each_once() -> None:
    texts = [CLOSED_TOKENS[0], EVENT_SLUG, CLOSED["conditionId"], OPEN["conditionId"], OPEN_TOKENS[1]]

    with serving(venue_answer) as server:
        found = asked(server, lambda catalogue: catalogue.markets(texts))

    assert [market.slug for market in found] == [
        CLOSED["slug"],
        *(each["slug"] for each in EVENT["markets"]),
        OPEN["slug"],
    ]


def test_one_market_is_asked_for_by_a_name_that_means_one() -> None:
    with serving(venue_answer) as server:
        assert asked(server, lambda catalogue: catalogue.market(OPEN["slug"])).slug == OPEN["slug"]
        with pytest.raises(ValueError, match=rf"an event of 2 markets; name one of {EVENT['markets'][0]['slug']}"):
            asked(server, lambda catalogue: catalogue.market(EVENT_SLUG))
        with pytest.raises(ValueError, match="is not the name of one market"):
            asked(server, lambda catalogue: catalogue.market("bitcoin above"))


V2_CONDITION = "0x01" + "0f" * 30
POSITIONS = ["170141183460469231731687303715884105728", "9"]
V2 = {
    "conditionId": V2_CONDITION,
    "slug": "of-v2",
    "version": "v2",
    "outcomes": '["Yes", "No"]',
    "clobTokenIds": json.dumps(OPEN_TOKENS),
    "positionIds": POSITIONS,
}
V9 = V2 | {"slug": "of-v9", "version": "v9", "conditionId": "0x" + "9a" * 32, "positionIds": ["901", "902"]}
BARE = V2 | {"slug": "bare", "positionIds": [], "conditionId": "0x" + "ba" * 31}


def ids_of(value: object) -> set[object]:
    return set(cast("list[object]", value)) if isinstance(value, list) else {value}


def versions(request: Request) -> Answer:
    """A venue with markets of two versions, one of a version that nobody knows, and one without tokens."""
    for parameter, key in (("condition_ids", "conditionId"), ("clob_token_ids", "x"), ("position_ids", "positionIds")):
        if request.path == "/markets" and parameter in request.query:
            wanted = set(request.query[parameter])
            open_ = request.query["closed"] == ["false"]
            return Answer(json.dumps([each for each in (V2, V9) if open_ and wanted & ids_of(each.get(key))]))
    documents: dict[str, object] = {
        "/events/slug/mixed": {"slug": "mixed", "markets": [V2, V9, BARE]},
        "/events/slug/newest": {"slug": "newest", "markets": [V9]},
        "/markets/slug/of-v9": V9,
        "/markets/slug/bare": BARE,
        "/markets/77": OPEN,
        "/public-search": {"events": [{"slug": "mixed", "markets": [V2, V9]}]},
        # It would be a market of another kind, if it were asked.
        f"/markets/{V9['conditionId']}": CLOB,
    }
    return Answer(json.dumps(documents[request.path])) if request.path in documents else ABSENT


def test_a_market_of_protocol_v2_is_found_by_its_ids() -> None:
    async def each(catalogue: Catalogue) -> list[list[Market]]:
        return [await catalogue.markets([text]) for text in (V2_CONDITION, V2_CONDITION[2:].upper(), *POSITIONS)]

    with serving(versions) as server:
        found = asked(server, each)

    assert [[market.slug for market in markets] for markets in found] == [["of-v2"]] * 4
    assert {market.version for markets in found for market in markets} == {"v2"}
    assert found[0][0].tokens == {"Yes": POSITIONS[0], "No": POSITIONS[1]}


def test_the_number_of_a_market_is_a_token_id_first_and_unknown_by_either_name() -> None:
    with serving(versions) as server:
        assert [market.slug for market in asked(server, lambda catalogue: catalogue.find("9"))] == ["of-v2"]
        assert [market.slug for market in asked(server, lambda catalogue: catalogue.find("77"))] == [OPEN["slug"]]
        with pytest.raises(UnknownMarketError, match="no market with the token id '123456'; no market has this number"):
            asked(server, lambda catalogue: catalogue.find("123456"))


@pytest.mark.parametrize("text", ["of-v9", V9["conditionId"], "901", "https://polymarket.com/event/newest"])
@pytest.mark.parametrize("ask", ["find", "markets", "market"])
def test_a_named_market_of_an_unknown_version_is_an_error_that_names_the_version(text: str, ask: str) -> None:
    questions: dict[str, Callable[[Catalogue], Coroutine[Any, Any, object]]] = {
        "find": lambda catalogue: catalogue.find(text),
        "markets": lambda catalogue: catalogue.markets([text]),
        "market": lambda catalogue: catalogue.market(text),
    }
    with serving(versions) as server, pytest.raises(ProtocolError, match=r"'of-v9' is of protocol version 'v9'"):
        asked(server, questions[ask])


def test_a_market_of_an_unknown_version_is_left_out_of_an_event_and_of_a_search_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(versions) as server:
        found = asked(server, lambda catalogue: catalogue.found(["mixed", V2_CONDITION]))
        searched = asked(server, lambda catalogue: catalogue.find("any words"))

    assert [[market.slug for market in each.markets] for each in found] == [["of-v2", "bare"], ["of-v2"]]
    assert [len(each.left_out) for each in found] == [1, 0]
    assert "protocol version 'v9'" in found[0].left_out[0]
    assert [market.slug for market in searched] == ["of-v2"]
    assert [record.message for record in caplog.records if "protocol version 'v9'" in record.message]


def test_what_is_listed_without_tokens_is_told_from_what_can_be_asked_for() -> None:
    with serving(versions) as server:
        whole, bare = tradable(asked(server, lambda catalogue: catalogue.markets(["mixed"])))
        with pytest.raises(UnknownMarketError, match="'bare' is listed without token ids"):
            tradable(asked(server, lambda catalogue: catalogue.markets(["bare"])))

    assert ([market.slug for market in whole], [market.slug for market in bare]) == (["of-v2"], ["bare"])
    assert tradable([]) == ([], [])


def test_ids_are_asked_for_in_batches() -> None:
    tokens = [f"{number:077}" for number in range(120)]

    def answer(request: Request) -> Answer:
        wanted = request.query["clob_token_ids"]
        return Answer(json.dumps([{"slug": token, "clobTokenIds": [token], "outcomes": ["Yes"]} for token in wanted]))

    with serving(answer) as server:
        found = asked(server, lambda catalogue: catalogue.by_tokens([*tokens, *tokens]))

    assert {token: market.slug for token, market in found.items()} == {token: token for token in tokens}
    assert [len(request.query["clob_token_ids"]) for request in server.requests] == [50, 50, 20]


def test_an_answer_is_kept_for_a_minute_while_a_market_is_open_and_for_good_once_it_is_settled() -> None:
    times = [0.0]

    async def twice(catalogue: Catalogue) -> tuple[int, int]:
        for times[0] in (0.0, 59.0, 61.0):
            await catalogue.by_token(OPEN_TOKENS[0])
        opened = len(server.requests)
        for times[0] in (61.0, 1e9):
            await catalogue.by_condition(CLOSED["conditionId"])
            await catalogue.by_token(CLOSED_TOKENS[1])
        return opened, len(server.requests) - opened

    with serving(venue_answer) as server:
        assert asked(server, twice, clock=lambda: times[0]) == (2, 2)


def test_many_who_want_the_same_at_once_cost_one_request() -> None:
    async def together(catalogue: Catalogue) -> list[Market]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(catalogue.market(CLOSED["slug"])) for _ in range(20)]
            tasks += [group.create_task(catalogue.by_token(OPEN_TOKENS[0])) for _ in range(20)]
        return [task.result() for task in tasks]

    with serving(venue_answer) as server:
        assert len(asked(server, together)) == 40

    assert sorted(server.paths) == ["/markets", f"/markets/slug/{CLOSED['slug']}"]


def test_a_market_that_has_no_tokens_yet_is_asked_for_again() -> None:
    """New markets lack their tokens for minutes (nautilus_trader, hydration window)."""
    answers = [{**OPEN, "clobTokenIds": "[]"}, OPEN]

    async def twice(catalogue: Catalogue) -> list[list[str]]:
        return [(await catalogue.market(OPEN["slug"])).token_ids for _ in range(2)]

    with serving(lambda _request: Answer(json.dumps(answers.pop(0)))) as server:
        assert asked(server, twice) == [[], OPEN_TOKENS]


def test_a_book_is_given_as_the_venue_wrote_it_and_none_where_there_is_none() -> None:
    with serving(venue_answer) as server:
        assert asked(server, lambda catalogue: catalogue.book(OPEN_TOKENS[0])) == b'{"bids": [] }\n'
        assert asked(server, lambda catalogue: catalogue.book(CLOSED_TOKENS[0])) is None


def test_the_venue_tells_its_time() -> None:
    with serving(venue_answer) as server:
        assert asked(server, lambda catalogue: catalogue.time()) == 1793000000

    with serving(lambda _request: Answer("noon")) as server, pytest.raises(ProtocolError, match="clock"):
        asked(server, lambda catalogue: catalogue.time())


def test_a_series_is_named_ahead_without_asking() -> None:
    with serving(venue_answer) as server:
        catalogue = Catalogue(at(server))
        assert catalogue.series_window("btc-updown-5m", 1784850950, 3) == [
            "btc-updown-5m-1784850900",
            "btc-updown-5m-1784851200",
            "btc-updown-5m-1784851500",
        ]
        asyncio.run(catalogue.close())

    assert server.requests == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_an_overloaded_venue_is_asked_again(status: int) -> None:
    answers = [Answer("", status), Answer("busy", status, {"retry-after": "0"}), Answer("1793000000")]

    with serving(lambda _request: answers.pop(0)) as server:
        assert asked(server, lambda catalogue: catalogue.time()) == 1793000000


def test_a_venue_that_stays_overloaded_is_asked_three_times() -> None:
    with serving(lambda _request: Answer("", 503)) as server:
        with pytest.raises(FeedError, match=r"cannot be reached after 3 attempts \(HTTP 503\); check the network"):
            asked(server, lambda catalogue: catalogue.time())

        assert len(server.requests) == 3


def test_a_venue_that_wants_a_long_pause_is_left_alone() -> None:
    with serving(lambda _request: Answer("", 429, {"retry-after": "3600"})) as server:
        with pytest.raises(FeedError, match=r"is busy \(HTTP 429\) and asks to be left alone for 3600 s"):
            asked(server, lambda catalogue: catalogue.time())

        assert len(server.requests) == 1


def test_a_page_of_cloudflare_is_reduced_to_its_status_and_ray(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    with (
        serving(lambda _request: CLOUDFLARE) as server,
        pytest.raises(FeedError, match=r"refused \(HTTP 403, cf-ray 8c1d2e3f-AMS\)") as refused,
    ):
        asked(server, lambda catalogue: catalogue.find("some-slug"))

    assert "203.0.113.77" not in str(refused.value) + caplog.text


def test_a_web_page_instead_of_data_is_told_apart() -> None:
    page = Answer("<html>Sign in</html>", 200, {"content-type": "text/html; charset=utf-8"})

    with serving(lambda _request: page) as server, pytest.raises(FeedError, match="answered with a web page"):
        asked(server, lambda catalogue: catalogue.find("some-slug"))


def test_a_redirect_is_not_followed() -> None:
    moved = Answer("", 302, {"location": "/elsewhere"})

    with serving(lambda _request: moved) as server:
        with pytest.raises(FeedError, match=r"redirects elsewhere \(HTTP 302\)"):
            asked(server, lambda catalogue: catalogue.find("some-slug"))

        assert "/elsewhere" not in server.paths


def test_an_unreachable_venue_is_named_in_a_sentence() -> None:
    with serving(venue_answer) as server:
        pass

    with pytest.raises(FeedError, match=r"127\.0\.0\.1:\d+ cannot be reached after 3 attempts \(no connection\)"):
        asked(server, lambda catalogue: catalogue.find("some-slug"))


@pytest.mark.io
def test_find_works_in_a_script_and_inside_a_running_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def in_a_cell() -> list[Market]:
        return find(OPEN["conditionId"])

    with serving(venue_answer) as server:
        monkeypatch.setenv("PMLIVE_GAMMA_URL", server.url)
        monkeypatch.setenv("PMLIVE_CLOB_URL", server.url)

        assert find(OPEN["conditionId"]) == asyncio.run(in_a_cell()) == find(OPEN["slug"], at(server))


def test_a_bucket_lets_a_burst_pass_and_then_spaces_requests() -> None:
    bucket = Bucket(size=2, rate=2)

    assert [bucket.reserve(now=100.0) for _ in range(4)] == [0.0, 0.0, 0.5, 1.0]
    assert bucket.reserve(now=102.0) == 0.0
    assert bucket.reserve(now=1000.0) == 0.0


def test_no_ten_seconds_hold_more_requests_than_the_venue_publishes() -> None:
    """Published for ten seconds: events 500, markets 300, search 350, book 1,500."""
    for path, published in (("/events/slug/a", 500), ("/markets", 300), ("/public-search", 350), ("/book", 1500)):
        bucket = bucket_for(path, {})
        waits = [bucket.reserve(now=0.0) for _ in range(2000)]
        assert sum(wait <= 10 for wait in waits) <= published / 2 * 1.2
