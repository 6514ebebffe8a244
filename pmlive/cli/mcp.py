"""``pmlive mcp``: the MCP server on standard input and output, and the configurations with which hosts start it.

Only the modules that answer a client's first messages are loaded before them.
"""

import json
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from pmlive import logs
from pmlive.cli.commands import Subparsers, add_command
from pmlive.cli.terminal import Output, Stop
from pmlive.mcp.stdio import claim_pipes, run_stdio
from pmlive.settings import NAMES, SECRET_NAMES

if TYPE_CHECKING:
    from pmlive.mcp import Toolkit

__all__ = ["add"]

# Clients may ask for this many levels of a book; a row of that many takes one to three kilobytes.
_DEPTH, _ROWS = 100, 20_000
_CONFIGURATIONS = ("all", "desktop", "code", "json")
# The folder of Claude Desktop's configuration, by platform.
_DESKTOP_FOLDERS = {
    "darwin": "~/Library/Application Support/Claude",
    "win32": "%APPDATA%/Claude",
    "linux": "~/.config/Claude",
}
_DESKTOP_FILE = "claude_desktop_config.json"


class _ServerEntry(msgspec.Struct, omit_defaults=True):
    """One server in a host's configuration."""

    command: str
    args: list[str]
    env: dict[str, str] = {}


class _HostConfig(msgspec.Struct, rename={"servers": "mcpServers"}):
    """A host's configuration."""

    servers: dict[str, _ServerEntry]


def add(subparsers: Subparsers) -> None:
    """Add the command."""
    command = add_command(
        subparsers,
        "mcp",
        _mcp,
        summary="Serve Claude and other MCP clients on standard input and output",
        examples=["pmlive mcp --print-config", "pmlive mcp --venue sim", "pmlive mcp --recordings data"],
        more="Clients start it themselves; --print-config shows how to configure them.",
    )
    command.add_argument("--recordings", type=Path, metavar="DIR", help="the recordings that clients may query")
    command.add_argument(
        "--record",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="DIR",
        help="record everything that is subscribed (default: into a new folder beside the other recordings)",
    )
    command.add_argument("--venue", choices=("sim",), help="a simulated venue, which needs no network")
    command.add_argument(
        "--print-config",
        choices=_CONFIGURATIONS,
        nargs="?",
        const="all",
        help="print what makes Claude Desktop or Claude Code start this server, and end",
    )
    # A host shows the log as it is, if at all, and cannot run the command again with -v.
    command.set_defaults(tracebacks="always")


def _mcp(options: Namespace, out: Output, stop: Stop) -> int:
    if find_spec("mcp") is None:
        raise ValueError("the MCP server needs the SDK, which is not installed; run: pip install 'pmlive[mcp]'")
    if options.print_config is not None:
        _print_config(options, out)
        return 0
    pipes = claim_pipes()
    with stop.deferred():
        run_stdio(pipes, partial(_toolkit, options), lambda: stop.requested)
    return _exit()


@contextmanager
def _toolkit(options: Namespace) -> "Generator[Toolkit]":
    from pmlive.manager import Manager
    from pmlive.mcp.toolkit import Toolkit

    with Manager(options.venue, depth=_DEPTH, rows=_ROWS) as manager:
        if options.record is not None:
            manager.record(options.record if options.record.parts else None)
        toolkit = Toolkit(manager, options.recordings)
        try:
            yield toolkit
        finally:
            toolkit.close()


def _exit() -> NoReturn:
    """End the process, once everything is closed.

    Threads may still work for a client that is gone, or be blocked by a host that does not read the log, and the
    interpreter would wait for them.
    """
    logs.flush()
    os._exit(0)


def _print_config(options: Namespace, out: Output) -> None:
    """Print the requested configuration: as JSON only, or with where it belongs."""
    server = _ServerEntry(*_command_line(options), _environment())
    config = _HostConfig({"pmlive": server})
    texts = {"desktop": _desktop_text(config), "code": _code_text(server), "json": _json_text(config)}
    kind: str = options.print_config
    out.result(config, texts[kind] if kind in texts else f"{texts['desktop']}\n\n{texts['code']}")


def _command_line(options: Namespace) -> tuple[str, list[str]]:
    command, *before = _program()
    args = [*before, "mcp"]
    if options.recordings is not None:
        args += ["--recordings", str(options.recordings.expanduser().absolute())]
    if options.record is not None:
        args += ["--record", *([str(options.record.expanduser().absolute())] if options.record.parts else [])]
    if options.venue is not None:
        args += ["--venue", options.venue]
    return command, args


def _program() -> list[str]:
    """Return the absolute path of this program, because hosts start it with another search path."""
    started = Path(sys.argv[0])
    if started.stem == "pmlive" and started.is_file():
        return [str(started.absolute())]
    return [sys.executable, "-m", "pmlive"]


def _environment() -> dict[str, str]:
    """Return the settings of this environment without secrets, because hosts do not inherit it."""
    settings = {name: os.environ[name] for name in NAMES if name not in SECRET_NAMES and os.environ.get(name)}
    if "PMLIVE_DATA_DIR" in settings:
        settings["PMLIVE_DATA_DIR"] = str(Path(settings["PMLIVE_DATA_DIR"]).expanduser().absolute())
    return settings


def _json_text(config: _HostConfig) -> str:
    return json.dumps(msgspec.to_builtins(config), indent=2)


def _desktop_text(config: _HostConfig) -> str:
    folder = _DESKTOP_FOLDERS.get(sys.platform, _DESKTOP_FOLDERS["linux"])
    return f"Claude Desktop, in {folder}/{_DESKTOP_FILE} (then restart it):\n\n{_json_text(config)}"


def _code_text(server: _ServerEntry) -> str:
    variables = [word for name, value in server.env.items() for word in ("--env", f"{name}={value}")]
    words = ["claude", "mcp", "add", "--transport", "stdio", "pmlive", *variables, "--", server.command, *server.args]
    return f"Claude Code, in a terminal:\n\n{shlex.join(words)}"
