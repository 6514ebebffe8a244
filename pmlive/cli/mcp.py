"""``pmlive mcp``: the MCP server on standard input and output, and the configurations that make hosts start it.

Only what answers the client's first words is loaded before they are answered.
"""

import os
from argparse import Namespace
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pmlive import logs
from pmlive.cli import hosts, running
from pmlive.cli.options import Places, add_command
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop
from pmlive.mcp.stdio import run_stdio
from pmlive.mcp.wire import claim

if TYPE_CHECKING:
    from pmlive.mcp import Toolkit

__all__ = ["add", "run"]

# Clients may ask for so many levels of a book, and rows of these take a kilobyte or three.
_DEPTH, _ROWS = 100, 20_000


def run(arguments: Sequence[str] | None, stop: Stop) -> int:
    """Run this command without loading the others."""
    return running.run([add], arguments, stop)


def add(places: Places) -> None:
    """Add the command."""
    command = add_command(
        places,
        "mcp",
        _mcp,
        summary="Serve Claude and other MCP clients on standard input and output",
        more="Clients start it themselves; --print-config shows how to tell them.",
    )
    command.add_argument(
        "--recordings", type=Path, metavar="DIR", help="where the recordings are that clients may ask of"
    )
    command.add_argument(
        "--record",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="DIR",
        help="record everything that is subscribed (default: into a new folder with the others)",
    )
    command.add_argument("--venue", choices=("sim",), help="a simulated venue, which needs no network")
    command.add_argument(
        "--print-config",
        choices=hosts.KINDS,
        nargs="?",
        const="all",
        help="print what makes Claude Desktop or Claude Code start this server, and end",
    )
    # A host shows the log as it comes, if it reads it at all; nobody is there to ask again with -v.
    command.set_defaults(tracebacks="always")


def _mcp(options: Namespace, out: Output, stop: Stop) -> int:
    if find_spec("mcp") is None:
        raise ValueError("the MCP server needs the SDK, which is not installed; run: pip install 'pmlive[mcp]'")
    if options.print_config is not None:
        hosts.show(options, out)
        return 0
    wire = claim()
    with stop.held():
        run_stdio(wire, partial(_opened, options), lambda: stop.wished)
    return _leave()


@contextmanager
def _opened(options: Namespace) -> "Generator[Toolkit]":
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


def _leave() -> NoReturn:
    """End the program; everything is closed.

    What is left are threads at work for a client that is gone, or held up by a host that does not read the log; the
    interpreter would wait for them.
    """
    logs.flush()
    os._exit(0)
