"""The page of all faults: what happened, what was told, which books refused, and whether it held."""

from collections.abc import Sequence

from pmlive.cli.faults.outcome import Outcome
from pmlive.cli.text import counted, duration, table

__all__ = ["page"]

_HEAD = ["", "fault", "missed", "gaps told", "books refused", "recovered after", "exit"]


def page(outcomes: Sequence[Outcome]) -> str:
    """Write the page, with what is wrong about a row under the table."""
    lines = table(_HEAD, [_cells(outcome) for outcome in outcomes], right=[2])
    wrong = [outcome for outcome in outcomes if not outcome.held]
    for outcome in wrong:
        lines += ["", f"{outcome.name} does not hold:", *(f"  {complaint}" for complaint in outcome.complaints)]
    return "\n".join([*lines, "", f"{counted(len(outcomes), 'fault')}, {len(outcomes) - len(wrong)} held"])


def _cells(outcome: Outcome) -> list[str]:
    told = ", ".join(f"{each.gaps} {each.cause} ({duration(each.longest)})" for each in outcome.told)
    after = outcome.recovered_after
    return [
        "held" if outcome.held else "FAILED",
        outcome.name,
        f"{outcome.missed:,}",
        told or "none",
        f"{outcome.refused} of {outcome.tokens}" if outcome.tokens else "-",
        "-" if after is None else duration(after),
        "-" if outcome.code is None else str(outcome.code),
    ]
