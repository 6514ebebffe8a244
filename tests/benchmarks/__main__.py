"""Measure decoding, books and columns, alone and against the peers."""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from . import corpus, figures
from .measure import alternate, relative
from .peers import PEERS, Peer, python

_LAYERS = {
    "decode": "decode",
    "book": "decode, book",
    "ours": "decode, book, checks of best prices, rolling columns",
    "paced": "the same at 5,000 frames a second of its clock",
    "hashes": "the same, and every book hash verified",
}


def main() -> None:
    """Print the figures."""
    options = _options()
    amount, rounds = (4_000, 3) if options.quick else (20_000, 9)
    with tempfile.TemporaryDirectory() as folder:
        frames = corpus.write(Path(folder) / "corpus.jsonl", amount)
        figures.show("layers", _layers(frames, amount, rounds), options)
        if options.peers:
            figures.show("peers", _against_peers(frames, amount, rounds), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few frames and rounds, to see that everything runs")
    parser.add_argument("--peers", action="store_true", help="install the peers if need be, and compare with them")
    figures.add_options(parser)
    return parser.parse_args()


def _layers(frames: Path, amount: int, rounds: int) -> str:
    times = alternate(Path(sys.executable), list(_LAYERS), frames, rounds=rounds)
    rows = [
        (does, f"{median(times[case]) / amount:.1f}", relative(times[case], times["ours"]))
        for case, does in _LAYERS.items()
    ]
    made_with = figures.setting("msgspec", "polars")
    return f"{made_with}:\n\n{figures.table(('layer', 'us a frame', 'of the whole path'), rows)}"


def _against_peers(frames: Path, amount: int, rounds: int) -> str:
    head = ("peer", "does", "us a frame", "ours, beside it", "our rate is so many times its", "aim")
    return figures.table(head, [_against(peer, frames, amount, rounds) for peer in PEERS])


def _against(peer: Peer, frames: Path, amount: int, rounds: int) -> tuple[object, ...]:
    times = alternate(python(peer), ["ours", peer.case], frames, rounds=rounds)
    each = (f"{median(times[case]) / amount:.1f}" for case in (peer.case, "ours"))
    return (peer.requirement, peer.does, *each, relative(times[peer.case], times["ours"]), peer.aim)


if __name__ == "__main__":
    main()
