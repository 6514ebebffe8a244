"""``pmlive doctor``: what of this computer and its network could stand in the way of recording."""

import asyncio
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence

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
        more="No secret is shown or sent. The exit code is 1 if there is a problem. With --faults nothing of that is "
        "looked at: instead every fault that pmlive is built for is brought about here, with a simulated venue and "
        "recorders in processes of their own, which takes some minutes.",
    )
    command.add_argument(
        "--faults",
        nargs="*",
        metavar="WORDS",
        help="try the catalogue of faults, or those of these groups or with these words in their names",
    )
    add_venue(command)


def _doctor(options: Namespace, out: Output, stop: Stop) -> int:
    if options.faults is not None:
        return _faults(options.faults, out, stop)
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


def _faults(words: Sequence[str], out: Output, stop: Stop) -> int:
    """Try the faults that are meant, and print the page of them."""
    # It needs what only a POSIX system has, and nothing else does.
    from pmlive.cli.faults import CATALOGUE, Outcome, attempt_all, page

    del stop
    rows = [row for row in CATALOGUE if not words or any(word == row.group or word in row.name for word in words)]
    if not rows:
        known = ", ".join(dict.fromkeys(row.group for row in CATALOGUE))
        raise ValueError(f"no fault's name has {' or '.join(map(repr, words))}; groups are {known}")
    done = list[Outcome]()

    def told(outcome: Outcome) -> None:
        done.append(outcome)
        if not outcome.held:
            out.note(f"pmlive: {outcome.name} does not hold: {'; '.join(outcome.complaints)}")
        out.progress(f"{len(done)} of {counted(len(rows), 'fault')} tried; {outcome.name}")

    out.progress(f"trying {counted(len(rows), 'fault')}")
    outcomes = attempt_all(rows, told)
    held = all(outcome.held for outcome in outcomes)
    out.result({"ok": held, "faults": [outcome.to_dict() for outcome in outcomes]}, page(outcomes))
    return 0 if held else 1


def _lines(verdict: Verdict) -> list[str]:
    first = f"{verdict.state:<9}{verdict.name:<14}{verdict.found}"
    return [first, f"{'':<23}{verdict.advice}"] if verdict.advice else [first]
