"""What a researcher asks again and again, as prompts."""

import re
from collections.abc import Mapping

from pmlive.mcp.described import PromptArgument, PromptDescribed

__all__ = ["PROMPTS", "fill"]

PROMPTS = [
    PromptDescribed(
        name="review_recording",
        title="Review a recording",
        description="Judge what a recording is worth before it is used: coverage, gaps, checks, minutes to leave out.",
        arguments=(
            PromptArgument(
                name="recording", description="Name of the recording, as listed by get_recording_quality", required=True
            ),
        ),
    ),
    PromptDescribed(
        name="explain_move",
        title="Explain a price move",
        description="Find out what happened to a book around a time of a recording: trades, depth, spread, and gaps.",
        arguments=(
            PromptArgument(name="recording", description="Name of the recording", required=True),
            PromptArgument(name="token_id", description="Token whose price moved", required=True),
            PromptArgument(name="time", description="About when, ISO 8601, UTC", required=True),
        ),
    ),
]

_TEXTS = {
    "review_recording": (
        "Review the recording {recording}. Call get_recording_quality for it first. Then say, in this order: what "
        "share of the time its books can be trusted; each fault with its interval and cause; whether hashes, best "
        "prices and fresh snapshots agreed; how late messages came; and which minutes to leave out. For a fault "
        "longer than ten seconds, look with query_recording at prices just before and just after it, and say what may "
        "have been missed. State numbers with units, and what you could not find out."
    ),
    "explain_move": (
        "Explain what happened to the book of token {token_id} around {time} in the recording {recording}. First see "
        "with query_recording whether a gap touches the ten minutes around it; if one does, say what cannot be known. "
        "Then compare get_book one minute before, at the time and one minute after; read the trades of these minutes, "
        "aggregated by 10s; and tell which came first, trades or withdrawn orders. Distinguish what the data show from "
        "what you suppose."
    ),
}
# What may stand in a prompt: names, ids and times, and no sentences.
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:+_-]{0,127}")


def fill(name: str, arguments: Mapping[str, str]) -> str:
    """Fill in a prompt.

    Raises:
        LookupError: there is none of this name.
        ValueError: an argument is missing, is not known, or is no name, id or time.
    """
    prompt = next((one for one in PROMPTS if one.name == name), None)
    if prompt is None:
        raise LookupError(f"there is no such prompt; there are: {', '.join(one.name for one in PROMPTS)}")
    wanted = [argument.name for argument in prompt.arguments]
    if set(arguments) != set(wanted):
        raise ValueError(f"this prompt is filled with exactly: {', '.join(wanted)}")
    for argument in wanted:
        if not _WORD.fullmatch(arguments[argument]):
            raise ValueError(f"{argument} is no name, id or time; give one without spaces")
    return _TEXTS[name].format(**arguments)
