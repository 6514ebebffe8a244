"""Run the notebooks from top to bottom in fresh kernels, and write them with what they show.

``python -m tests.run_notebooks`` runs all, ``python -m tests.run_notebooks 00 04`` those whose names begin so. What is
of one run or one computer alone (times of execution, ids of widgets, names of folders) is left out.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["FOLDER", "execute", "main", "tidy"]

# A notebook, or a part of one, as it is in its file.
Json: TypeAlias = dict[str, Any]

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"

_PATIENCE = 120
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_VIEW = "application/vnd.jupyter.widget-view+json"


def main(arguments: Sequence[str]) -> int:
    """Run the notebooks that are named, by default all; one that fails stays as it was, and makes the answer 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.run_notebooks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="how a notebook's name begins (default: all)")
    names = tuple(parser.parse_args(arguments).names)
    paths = [path for path in sorted(FOLDER.glob("*.ipynb")) if not names or path.name.startswith(names)]
    return int(not all([_renew(path) for path in paths]))  # noqa: C419  # each is run, also after one that failed


def _renew(path: Path) -> bool:
    """Run a notebook in its file; tell whether it went well."""
    began = time.monotonic()
    try:
        path.write_text(execute(path.read_text(encoding="utf-8"), path.parent), encoding="utf-8")
    except import_module("nbclient.exceptions").CellExecutionError as error:
        sys.stdout.write(f"{path.name}: {error}\n")
        return False
    sys.stdout.write(f"{path.name}: {time.monotonic() - began:.1f} s\n")
    return True


def execute(text: str, folder: Path) -> str:
    """Run a notebook in a folder and give it with its outputs, tidied.

    Raises:
        CellExecutionError: a cell failed.
    """
    # Of the tests alone, and untyped.
    nbformat, nbclient = import_module("nbformat"), import_module("nbclient")
    notebook = nbformat.reads(text, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=_PATIENCE, kernel_name="python3", resources=where).execute()
    return f"{nbformat.writes(tidy(notebook)).rstrip()}\n"


def tidy(notebook: Json) -> Json:
    """Leave out of a notebook that was run what is of that run or of this computer alone."""
    notebook["metadata"] = _METADATA
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags")
        cell["metadata"] = {"tags": tags} if tags else {}
        if cell["cell_type"] == "code":
            cell["outputs"] = [_tidied(output) for output in _joined(cell["outputs"])]
    return notebook


def _joined(outputs: Sequence[Json]) -> Iterator[Json]:
    """Give the outputs with what was printed in pieces as one."""
    last: Json | None = None
    for output in outputs:
        if last is not None and "text" in output and output["name"] == last.get("name"):
            last["text"] += output["text"]
            continue
        if last is not None:
            yield last
        last = output
    if last is not None:
        yield last


def _tidied(output: Json) -> Json:
    if "text" in output:
        output["text"] = _elsewhere(output["text"])
    if "data" in output:
        # How large a picture with more pixels than it needs is shown.
        output["metadata"] = {kind: size for kind, size in output["metadata"].items() if kind.startswith("image/")}
        output["data"].pop(_VIEW, None)
        texts = {kind: said for kind, said in output["data"].items() if not kind.startswith("image/")}
        output["data"] |= {kind: _elsewhere(said) for kind, said in texts.items()}
    return output


def _elsewhere(said: str) -> str:
    """Shorten the folders of this computer to what they are called everywhere."""
    temporary = re.escape(str(Path(tempfile.gettempdir()) / "tmp"))
    return re.sub(rf"{temporary}\w+/", "…/", said.replace(f"{ROOT}/", ""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
