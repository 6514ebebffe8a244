"""What makes Claude Desktop and Claude Code start this very program as their server."""

import json
import os
import shlex
import sys
from argparse import Namespace
from pathlib import Path

from msgspec import Struct

from pmlive.cli.output import Output
from pmlive.settings import NAMES, SECRET_NAMES

__all__ = ["KINDS", "show"]

KINDS = ("all", "desktop", "code", "json")

# The folder of Claude Desktop's configuration, by platform.
_DESKTOP = {
    "darwin": "~/Library/Application Support/Claude",
    "win32": "%APPDATA%/Claude",
    "linux": "~/.config/Claude",
}
_FILE = "claude_desktop_config.json"


class _Server(Struct, omit_defaults=True):
    """An entry of a configuration."""

    command: str
    args: list[str]
    env: dict[str, str] = {}


class _Config(Struct, rename={"servers": "mcpServers"}):
    """A configuration, as hosts read it."""

    servers: dict[str, _Server]


def show(options: Namespace, out: Output) -> None:
    """Print the configuration that was asked for; as JSON alone for programs, and for files."""
    server = _server(options)
    config = _Config({"pmlive": server})
    texts = {"desktop": _desktop(config), "code": _code(server), "json": _json(config)}
    kind: str = options.print_config
    out.result(config, texts[kind] if kind in texts else f"{texts['desktop']}\n\n{texts['code']}")


def _server(options: Namespace) -> _Server:
    command, *before = _program()
    args = [*before, "mcp"]
    if options.recordings is not None:
        args += ["--recordings", str(options.recordings.expanduser().absolute())]
    if options.record is not None:
        args += ["--record", *([str(options.record.expanduser().absolute())] if options.record.parts else [])]
    if options.venue is not None:
        args += ["--venue", options.venue]
    return _Server(command, args, _environment())


def _program() -> list[str]:
    """Give what was started, by its whole path: hosts start it from elsewhere, with another path to search."""
    started = Path(sys.argv[0])
    if started.stem == "pmlive" and started.is_file():
        return [str(started.absolute())]
    return [sys.executable, "-m", "pmlive"]


def _environment() -> dict[str, str]:
    """Give the settings that hold here; hosts do not hand on the terminal's. Secrets are not printed."""
    given = {name: os.environ[name] for name in NAMES if name not in SECRET_NAMES and os.environ.get(name)}
    if "PMLIVE_DATA_DIR" in given:
        given["PMLIVE_DATA_DIR"] = str(Path(given["PMLIVE_DATA_DIR"]).expanduser().absolute())
    return given


def _json(config: _Config) -> str:
    entry = config.servers["pmlive"]
    server: dict[str, object] = {"command": entry.command, "args": entry.args}
    return json.dumps({"mcpServers": {"pmlive": server | ({"env": entry.env} if entry.env else {})}}, indent=2)


def _desktop(config: _Config) -> str:
    folder = _DESKTOP.get(sys.platform, _DESKTOP["linux"])
    return f"Claude Desktop, in {folder}/{_FILE} (then start it anew):\n\n{_json(config)}"


def _code(server: _Server) -> str:
    variables = [word for name, value in server.env.items() for word in ("--env", f"{name}={value}")]
    words = ["claude", "mcp", "add", "--transport", "stdio", "pmlive", *variables, "--", server.command, *server.args]
    return f"Claude Code, in a terminal:\n\n{shlex.join(words)}"
