"""One client over pipes: hosts' habits, clients that stop reading, and the end."""

import asyncio
import json
import os
import threading
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from support.mcp import CLIENT, ENVELOPE, Lines, piped
from support.toy import STATUS, Toy, change
from support.waiting import wait_until

from pmlive.mcp.specs import ToolkitLike, ToolResult
from pmlive.mcp.stdio import HANDSHAKE_VERSIONS, MODERN_VERSIONS, Handshake, Pipes, run_stdio

DISCOVER = {"_meta": ENVELOPE}


def version(of: str) -> dict[str, object]:
    return {"_meta": ENVELOPE | {"io.modelcontextprotocol/protocolVersion": of}}


def greeting(version: object = "2025-11-25", **more: object) -> dict[str, object]:
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT} | more


def line(method: str, params: object, message_id: object = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": message_id, "method": method, "params": params}).encode()


def sdk(asked: bytes) -> dict[str, Any]:
    """Answer with the SDK alone, which hears something else first so that the handshake is over."""
    message = json.loads(asked)
    modern = message["method"] != "initialize"
    with piped(Toy()) as client:
        client.read()
        if modern:
            client.ask("before", "tools/list", _meta=ENVELOPE)
            client.hear()
        else:
            client.ask("before", "ping")
            client.hear()
        client.say(asked)
        return client.hear()


# --- the first words ---


def test_the_handshake_knows_the_versions_that_the_sdk_serves() -> None:
    assert HANDSHAKE_VERSIONS == HANDSHAKE_PROTOCOL_VERSIONS
    assert MODERN_VERSIONS == MODERN_PROTOCOL_VERSIONS


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("server/discover", DISCOVER),
        ("server/discover", {"_meta": ENVELOPE | {"io.modelcontextprotocol/clientInfo": CLIENT}}),
        ("server/discover", {"_meta": ENVELOPE | {"io.modelcontextprotocol/clientInfo": {"name": 1}}}),
        ("server/discover", {"_meta": ENVELOPE | {"io.modelcontextprotocol/clientCapabilities": {"roots": 3}}}),
        ("server/discover", version("2027-01-01")),
        ("server/discover", {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}),
        ("server/discover", {"_meta": ENVELOPE | {"io.modelcontextprotocol/protocolVersion": 7}}),
        *(("initialize", greeting(each)) for each in HANDSHAKE_VERSIONS),
        ("initialize", greeting(capabilities={"roots": {"listChanged": True}})),
    ],
)
def test_the_first_words_are_answered_as_the_sdk_would(method: str, params: dict[str, object]) -> None:
    asked = line(method, params)

    answer = Handshake().handle(asked).answer

    assert answer is not None
    assert json.loads(answer) == sdk(asked)


@pytest.mark.parametrize(
    "params",
    [
        {},
        greeting("1999-01-01"),
        greeting(7),
        greeting(capabilities=[]),
        greeting(capabilities={"roots": 3}),
        greeting(clientInfo={"name": "a"}),
        greeting(_meta={}),
    ],
)
def test_a_greeting_that_is_not_plain_is_left_to_the_sdk(params: dict[str, object]) -> None:
    handled = Handshake().handle(line("initialize", params))

    assert handled.answer is None
    assert handled.forward


@pytest.mark.parametrize("params", [{}, {"_meta": {}}, {"_meta": 3}, []])
def test_a_question_of_the_newer_era_without_its_envelope_decides_nothing(params: object) -> None:
    handshake = Handshake()

    refused = handshake.handle(line("server/discover", params))

    assert refused.answer is not None
    assert json.loads(refused.answer)["error"]["code"] == -32601
    assert not refused.forward
    assert handshake.handle(line("initialize", greeting())).answer is not None


@given(st.binary())
def test_no_line_breaks_the_handshake(garbage: bytes) -> None:
    handled = Handshake().handle(garbage)

    assert handled.answer is None
    assert handled.forward


def test_what_the_handshake_answered_is_not_answered_again() -> None:
    handshake = Handshake()
    handshake.handle(line("initialize", greeting(), message_id=0))

    assert [handshake.is_repeated(each) for each in (1, 0, 0)] == [False, True, False]


def test_the_first_words_are_answered_while_the_rest_still_loads() -> None:
    loaded = threading.Event()
    with piped(Toy(), loaded=loaded) as client:
        client.read()
        client.ask(0, "server/discover", **DISCOVER)
        assert client.hear()["id"] == 0
        assert client.initialize()["result"]["protocolVersion"] == "2025-11-25"
        client.ask(1, "tools/list")
        loaded.set()
        assert len(client.hear()["result"]["tools"]) == 3


@pytest.mark.parametrize("first", ["discover", "refused", "nothing"])
@pytest.mark.parametrize("era", ["older", "newer"])
def test_a_host_may_ask_for_one_era_and_go_on_with_the_other(first: str, era: str) -> None:
    with piped(Toy()) as client:
        client.read()
        if first != "nothing":
            client.ask("d", "server/discover", **(DISCOVER if first == "discover" else version("2027-01-01")))
            assert client.hear()["id"] == "d"
        if era == "older":
            assert client.initialize()["id"] == "first"
        client.ask("t", "tools/list", **({} if era == "older" else DISCOVER))
        answer = client.hear()

    assert answer["id"] == "t"
    assert len(answer["result"]["tools"]) == 3


# --- lines ---


def test_what_is_no_message_is_refused_by_its_number_and_nothing_ends() -> None:
    with piped(Toy()) as client:
        client.read()
        client.initialize()
        for said in (
            b"{",
            b"[]",
            b"7",
            b"",
            b'{"id":3}',
            b'{"jsonrpc":"2.0","id":"x","method":7}',
            b"\xff",
            b"[" * 9999,
        ):
            client.say(said)
        refused = [client.hear() for _ in range(8)]
        client.ask(1, "ping")
        assert client.hear()["id"] == 1

    assert [each["id"] for each in refused] == [None, None, None, None, 3, "x", None, None]
    assert {each["error"]["code"] for each in refused} == {-32700, -32600}


def test_a_line_that_never_ends_is_given_up_and_the_next_is_heard() -> None:
    with piped(Toy()) as client:
        client.read()
        client.initialize()
        client.say(b"x" * (6 << 20))
        assert client.hear()["error"]["code"] == -32700
        client.ask(1, "ping")
        assert client.hear()["id"] == 1


# --- the end ---


def test_what_was_asked_is_answered_before_the_end_when_the_client_closes_its_pipe() -> None:
    with piped(Toy()) as client:
        client.ask("first", "initialize", **greeting())
        client.note("notifications/initialized")
        client.ask(1, "tools/list")
        client.ask(2, "tools/call", name="echo", arguments={"text": "hello"})
        client.to_server.close()
        client.read()
        answers = client.rest()

    assert {each["id"] for each in answers} == {"first", 1, 2}
    assert client.closed.is_set()


def test_a_wish_to_stop_ends_it_also_while_a_call_goes_on() -> None:
    class Endless(Toy):
        async def _wait(self, progress: object) -> ToolResult:
            del progress
            self.arguments.append({"waiting": True})
            await asyncio.Event().wait()
            raise AssertionError("nothing happens")

    kit = Endless()
    with piped(kit) as client:
        client.read()
        client.initialize()
        client.ask(1, "tools/call", name="wait")
        wait_until(lambda: {"waiting": True} in kit.arguments)
        client.stop.set()
        assert client.rest() == []
        client.thread.join(10)
        assert client.closed.is_set()


def test_a_wish_to_stop_before_anything_is_loaded_opens_nothing_more_than_it_must() -> None:
    loaded = threading.Event()
    with piped(Toy(), loaded=loaded) as client:
        client.read()
        client.stop.set()
        loaded.set()
        assert client.rest() == []


def test_an_opening_that_fails_is_told_to_the_caller() -> None:
    (reading, to_server), (from_server, writing) = os.pipe(), os.pipe()

    def opening() -> AbstractContextManager[ToolkitLike]:
        raise ValueError("the folder is another's")

    with pytest.raises(ValueError, match="another's"):
        run_stdio(Pipes(reading, writing), opening, lambda: False)
    os.close(to_server)  # the reading side is its thread's
    os.close(writing)
    os.close(from_server)


# --- clients that do not read ---


def stuffed(client: Lines, toy: Toy) -> None:
    """Tell a client that does not read more than its pipe holds."""
    client.ask("first", "initialize", **greeting())
    client.note("notifications/initialized")
    client.ask(1, "resources/subscribe", uri=STATUS)
    while json.loads(client.from_server.readline())["id"] != 1:
        pass
    for number in range(2_000):
        toy.happens(change(number, urgent=True), change(number, table="prices"))


def test_a_client_that_stops_reading_holds_up_neither_the_toolkit_nor_the_end() -> None:
    toy = Toy()
    with piped(toy) as client:
        stuffed(client, toy)
        client.stop.set()
        client.thread.join(10)
        assert client.closed.is_set()
    assert toy.listeners == []


def test_a_client_that_reads_late_is_told_how_much_it_missed() -> None:
    toy = Toy()
    with piped(toy) as client:
        stuffed(client, toy)
        client.read()
        missed = 0
        told: list[int] = []
        while not told or told[-1] != 1_999:
            message = client.hear()
            if message.get("method") == "notifications/message":
                data = message["params"]["data"]
                missed += data.get("updates", 0)
                if data.get("table") == "trades":
                    told.append(data["number"])
        assert told == sorted(told)
        assert missed > 0
        assert len(told) < 2_000
