"""How soon recording goes on after a crash that left a log of 100 MB.

Another process logs generated frames until the log is that large, and ends without sealing any. Opening the folder
again has to check the whole log and find where to go on; the log becomes tables while recording goes on.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from pmlive.pipeline.journal import rebuild
from pmlive.records import Opened
from pmlive.store import Record, Recorder, RecorderOptions

from . import corpus, figures

_MB = 1_000_000
_START = 1_791_000_000_000_000_000
_EVERY = 200_000
# So large that nothing is sealed.
_NEVER = RecorderOptions(segment_seconds=1e9, segment_rows=10**12, segment_bytes=10**15, memory=10**9)


def main() -> None:
    """Print the figures, or be the process that ends without sealing."""
    options = _options()
    if options.leave is not None:
        _leave(options.leave, options.size)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "night"
        command = [sys.executable, "-m", f"{__package__}.recovery", "--size", str(options.size), "--leave", str(folder)]
        subprocess.run(command, check=False)
        left = sum(path.stat().st_size for path in (folder / "wal").iterdir())
        figures.show("recovery", _report(folder, left), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recovery", description=__doc__)
    parser.add_argument("--size", type=int, default=100, help="MB of log")
    parser.add_argument("--leave", type=Path, help=argparse.SUPPRESS)
    figures.add_options(parser)
    return parser.parse_args()


def _leave(folder: Path, size: int) -> None:
    recorder = Recorder(folder, rebuild=rebuild, options=_NEVER, clock=lambda: _START)
    seq = itertools.count(1, 5)
    frames = corpus.frames(10**9)
    tokens = [token.id for token in corpus.World().tokens]
    note = msgspec.json.encode(Opened("market", "ws://127.0.0.1", tokens))
    recorder.log(Record(next(seq), _START, 1, "open", note))
    for number, frame in enumerate(frames):
        recorder.log(Record(next(seq), _START + number * _EVERY, 1, "market", frame))
        if number % 10_000 == 0:
            recorder.flush(60)
            if recorder.status().bytes > size * _MB:
                os._exit(0)


def _report(folder: Path, left: int) -> str:
    began = time.monotonic()
    recorder = Recorder(folder, rebuild=rebuild)
    opened = time.monotonic()
    records = recorder.recovery.records
    recorder.close()
    sealed = time.monotonic()
    head = ("log, MB", "records", "seconds until recording goes on", "seconds until all of it is sealed")
    row = (f"{left / _MB:.0f}", f"{records:,}", f"{opened - began:.2f}", f"{sealed - began:.0f}")
    return f"{figures.setting('zstandard', 'polars', 'pyarrow')}:\n\n{figures.table(head, [row])}"


if __name__ == "__main__":
    main()
