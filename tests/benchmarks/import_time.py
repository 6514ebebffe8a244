"""Time `import pmlive`, and see what heavy libraries it brings along."""

import argparse
import statistics
import subprocess
import sys

from . import figures

_ROUNDS = 9
_HEAVY = ("polars", "pyarrow", "pandas", "ipywidgets", "matplotlib", "mcp", "websockets", "httpx")
_PROGRAM = f"""
import sys, time
started = time.perf_counter()
import pmlive
print(time.perf_counter() - started, *(name for name in {_HEAVY} if name in sys.modules))
"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.import_time", description=__doc__)
    figures.add_options(parser)
    options = parser.parse_args()
    answers = [_import_once() for _ in range(_ROUNDS)]
    seconds = statistics.median(float(answer[0]) for answer in answers)
    head = ("seconds to import", "heavy libraries imported with it")
    text = f"{figures.setting()}:\n\n{figures.table(head, [(f'{seconds:.2f}', ', '.join(answers[-1][1:]) or 'none')])}"
    figures.show("import", text, options)


def _import_once() -> list[str]:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.split()


if __name__ == "__main__":
    main()
