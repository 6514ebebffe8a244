"""``pmlive mcp``: the server as hosts start it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import run
from mcp.client import Client
from support.mcp import ENVELOPE, PATIENCE, Era, Lines, asking, eras, program

import pmlive as pm
from pmlive.cli import main

# A module of the server's that prints while it is imported, in three ways, and is then the one that it hides.
NOISE = """
import os, sys
print("noise by print", flush=True)
os.write(1, b"noise by the descriptor\\n")
os.system("echo noise by a child")
sys.path.remove(os.path.dirname(__file__))
del sys.modules[__name__]
import zstandard
"""


class Started(Lines):
    """The program, started by hand."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        super().__init__(process.stdin, process.stdout)
        self.process = process

    def end(self) -> int:
        self.to_server.close()
        return self.process.wait(PATIENCE)


@contextmanager
def started(*arguments: object, env: Mapping[str, str] | None = None, read: bool = True) -> Generator[Started]:
    command = [sys.executable, "-m", "pmlive", "mcp", *map(str, arguments)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    ) as process:
        try:
            client = Started(process)
            if read:
                client.read()
            yield client
        finally:
            process.kill()


def call(client: Lines, tool: str, **arguments: object) -> dict[str, Any]:
    client.ask(tool, "tools/call", name=tool, arguments=arguments)
    while (message := client.hear()).get("id") != tool:
        assert "id" not in message
    return message["result"]


def subscribed(client: Lines) -> None:
    client.initialize()
    (market, *_) = call(client, "find_markets", query="fed")["structuredContent"]["markets"]
    answer = call(client, "subscribe_orderbook_updates", token_ids=[market["condition_id"]])
    assert not answer["isError"]


@pytest.mark.quick(1)
@eras
def test_the_sdks_own_client_subscribes_and_follows(era: Era) -> None:
    async def ask(client: Client) -> None:
        found = await client.call_tool("find_markets", {"query": "fed"})
        assert found.structured_content is not None
        slug = found.structured_content["markets"][0]["condition_id"]
        made = await client.call_tool("subscribe_market_prices", {"market_ids": [slug]})
        assert made.structured_content is not None
        cursor = made.structured_content["cursor"]
        status = await client.call_tool("get_realtime_status", {"since": cursor, "wait_seconds": 20})
        assert status.structured_content is not None
        assert status.structured_content["events"]

    asking(program("--venue", "sim"), era, ask)


def sealed(folder: Path) -> bool:
    return (
        not list((folder / "wal").iterdir()) and pm.open_recording(folder).scan("book_snapshots").collect().height > 0
    )


def test_a_signal_ends_it_and_what_was_recorded_is_sealed(tmp_path: Path) -> None:
    with started("--venue", "sim", "--record", tmp_path / "night") as client:
        subscribed(client)
        call(client, "get_realtime_status", since=0, wait_seconds=20)
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(PATIENCE) == 0

    assert sealed(tmp_path / "night")


def test_nothing_but_the_protocol_is_on_the_standard_output_and_its_end_is_the_end(tmp_path: Path) -> None:
    (tmp_path / "zstandard.py").write_text(NOISE)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with started("--venue", "sim", "--record", tmp_path / "night", env={"PYTHONPATH": path}) as client:
        subscribed(client)
        call(client, "get_realtime_status", since=0, wait_seconds=20)
        code = client.end()
        rest = client.rest()
        assert client.process.stderr is not None
        log = client.process.stderr.read().decode()

    assert code == 0
    assert all(message["jsonrpc"] == "2.0" for message in rest)
    assert [log.count(f"noise by {way}") for way in ("print", "the descriptor", "a child")] == [1, 1, 1]
    assert sealed(tmp_path / "night")


def test_it_starts_and_answers_without_a_network(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    env = {"PMLIVE_CLOB_WS_URL": "ws://127.0.0.1:9/ws", "PMLIVE_CLOB_URL": nowhere, "PMLIVE_GAMMA_URL": nowhere}
    with started("--record", tmp_path / "night", env=env) as client:
        client.initialize()
        client.ask("tools", "tools/list")
        assert client.hear()["result"]["tools"]
        assert not call(client, "get_realtime_status")["isError"]
        assert call(client, "subscribe_market_prices", market_ids=["a-slug"])["isError"]
        assert client.end() == 0


def test_a_host_that_reads_neither_answers_nor_the_log_holds_up_nothing(tmp_path: Path) -> None:
    """What is written to the log is more than a pipe holds; the recording goes on and is sealed."""
    folder = tmp_path / "night"
    with started("--venue", "sim", "--record", folder, read=False) as client:
        client.ask(
            "first",
            "initialize",
            protocolVersion="2025-11-25",
            capabilities={},
            clientInfo={"name": "a", "version": "1"},
        )
        client.note("notifications/initialized")
        client.from_server.readline()
        client.ask("found", "tools/call", name="find_markets", arguments={"query": "will", "limit": 20})
        markets = json.loads(client.from_server.readline())["result"]["structuredContent"]["markets"]
        ids = [market["condition_id"] for market in markets]
        client.ask(
            "s", "tools/call", name="subscribe_orderbook_updates", arguments={"token_ids": ids, "callback_type": "log"}
        )
        for number in range(300):
            client.ask(number, "tools/list")
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(PATIENCE) == 0

    assert not list((folder / "wal").iterdir())


def test_a_recording_that_cannot_be_made_is_reported_and_nothing_is_served(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with started("--venue", "sim", "--record", tmp_path / "file") as client:
        code = client.end()
        assert client.process.stderr is not None
        log = client.process.stderr.read().decode()

    assert code == 2
    assert log.startswith("pmlive: ")
    assert "Traceback" not in log


# --- configurations ---


def test_programs_get_one_object_that_names_this_very_program(tmp_path: Path) -> None:
    done = run("mcp", "--recordings", "nights", "--record", "--print-config", "-o", "json", cwd=tmp_path)

    server = done.object["mcpServers"]["pmlive"]
    assert done.code == 0
    assert server["command"] == sys.executable
    assert server["args"] == ["-m", "pmlive", "mcp", "--recordings", str(tmp_path / "nights"), "--record"]
    assert set(server["env"]) == {"PMLIVE_DATA_DIR"}


def test_a_configuration_starts_the_server(tmp_path: Path) -> None:
    done = run("mcp", "--venue", "sim", "--print-config", "json", cwd=tmp_path)
    server = json.loads(done.out)["mcpServers"]["pmlive"]
    command = [server["command"], *server["args"]]

    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": ENVELOPE}})
    answered = subprocess.run(
        command,
        input=f"{asked}\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        cwd=Path(__file__).parent.parent,
    )

    assert json.loads(answered.stdout)["result"]["supportedVersions"] == ["2026-07-28"]


def test_both_hosts_are_printed_and_no_secret_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMARKET_SECRET", "secret-canary")
        patch.setenv("PMLIVE_GAMMA_URL", "https://gamma.example")
        assert main(["mcp", "--print-config"]) == 0
        both = capsys.readouterr().out
        assert main(["mcp", "--print-config", "code"]) == 0
        code = capsys.readouterr().out

    assert "claude_desktop_config.json" in both
    assert "claude mcp add --transport stdio pmlive --env" in both
    assert "PMLIVE_GAMMA_URL=https://gamma.example" in code
    assert "canary" not in both
    assert code.strip() in both


def test_the_command_alone_loads_neither_the_other_commands_nor_what_is_heavy() -> None:
    heavy = ("polars", "pyarrow", "mcp", "httpx", "websockets", "pydantic", "anyio")
    code = f"import sys; from pmlive.cli import mcp; print(sorted(set({heavy}) & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)

    assert done.stdout.strip() == "[]"
