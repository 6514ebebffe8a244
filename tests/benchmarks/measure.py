"""Cases in processes of their own, run alternately, compared by processor time."""

import json
import statistics
import subprocess
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["Cost", "alternate", "relative"]

_CASES = Path(__file__).with_name("cases.py")


class Cost(NamedTuple):
    """The median of some rounds and the quarters around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


class Worker:
    """One case in one process."""

    def __init__(self, case: str, process: "subprocess.Popen[str]") -> None:
        self.case = case
        self._process = process

    def measure(self) -> float:
        """Run the case once; give its processor time in microseconds.

        Raises:
            RuntimeError: the case ended, refused messages or found the corpus wrong.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.case} ended without an answer; what it said is above")
        measured: dict[str, int] = json.loads(answer)
        if measured["wrong"]:
            raise RuntimeError(f"{self.case} refused or found wrong {measured['wrong']} messages")
        return measured["cpu"] / 1000


@contextmanager
def _worker(python: Path, case: str, corpus: Path) -> Generator[Worker, None, None]:
    command = [str(python), str(_CASES), case, str(corpus)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Worker(case, process)
        finally:
            process.kill()


def alternate(python: Path, cases: Sequence[str], corpus: Path, *, rounds: int) -> dict[str, list[float]]:
    """Run each case once a round, another one first each time; a round before the first warms up."""
    times: dict[str, list[float]] = {case: [] for case in cases}
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(python, case, corpus)) for case in cases]
        for at in range(rounds + 1):
            turn = at % len(workers)
            for worker in workers[turn:] + workers[:turn]:
                times[worker.case].append(worker.measure())
    return {case: each[1:] for case, each in times.items()}


def relative(times: Sequence[float], base: Sequence[float]) -> Cost:
    """Compare round by round, since a busy machine slows both sides of a round."""
    low, median, high = statistics.quantiles([one / other for one, other in zip(times, base, strict=True)], n=4)
    return Cost(median, low, high)
