"""``pmlive doctor``: what of this computer and its network could stand in the way of recording."""

import asyncio
from argparse import Namespace
from collections import Counter

from pmlive.cli.local import credentials, disk, versions
from pmlive.cli.network import network
from pmlive.cli.options import Places, add_command
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop
from pmlive.cli.text import counted
from pmlive.cli.venues import add_venue, venue
from pmlive.cli.verdict import Verdict
from pmlive.settings import Variables, data_dir

__all__ = ["add"]


def add(places: Places) -> None:
    """Add the command."""
    command = add_command(
        places,
        "doctor",
        _doctor,
        summary="Check network, clock, credentials, disk and versions, and say what to do",
        more="No secret is shown or sent. The exit code is 1 if there is a problem.",
    )
    add_venue(command)


def _doctor(options: Namespace, out: Output, stop: Stop) -> int:
    del stop
    variables = Variables.read()
    verdicts = [*versions(), *disk(data_dir(variables)), credentials(variables)]
    out.progress("asking the venue")
    with venue(options.venue) as where:
        verdicts += asyncio.run(network(where))
    found = Counter(verdict.state for verdict in verdicts)
    lines = [line for verdict in verdicts for line in _lines(verdict)]
    ending = f"{counted(found['problem'], 'problem')}, {counted(found['warning'], 'warning')}"
    out.result({"ok": not found["problem"], "checks": verdicts}, "\n".join([*lines, "", ending]))
    return 1 if found["problem"] else 0


def _lines(verdict: Verdict) -> list[str]:
    first = f"{verdict.state:<9}{verdict.name:<14}{verdict.found}"
    return [first, f"{'':<23}{verdict.advice}"] if verdict.advice else [first]
