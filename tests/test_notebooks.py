"""The notebooks as they are committed: whole, with what they show, and nothing of the computer that they were run on.

That they run is tested by running them: pytest collects their cells.
"""

import ast
import json
import re
import subprocess
import sys
from base64 import b64decode
from functools import cache
from pathlib import Path

import pytest
from run_notebooks import FOLDER, Json, execute

_NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
_README = (FOLDER / "README.md").read_text(encoding="utf-8")
_MACHINE = re.compile(r"/(?:tmp|home|root|work|Users|private|var)/")
_SHOWN = re.compile(r"https?://(?:127\.0\.0\.1|localhost)|Traceback")
_VIEW = "application/vnd.jupyter.widget-view+json"

each_notebook = pytest.mark.parametrize("path", _NOTEBOOKS, ids=lambda path: path.stem)


@cache
def cells(path: Path) -> list[Json]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]


def outputs(path: Path) -> list[Json]:
    return [output for cell in cells(path) for output in cell.get("outputs", [])]


def trees(path: Path) -> list[ast.Module]:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    # A line of IPython's own begins with % or !; its place is kept.
    plain = [re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source) for source in code(path)]
    return [compile(source, path.name, "exec", flags) for source in plain]


@each_notebook
def test_a_notebook_was_run_from_top_to_bottom_and_nothing_failed(path: Path) -> None:
    counts = [cell["execution_count"] for cell in cells(path) if cell["cell_type"] == "code"]

    assert counts == list(range(1, len(counts) + 1))
    assert [output for output in outputs(path) if output["output_type"] == "error"] == []


@each_notebook
def test_a_notebook_shows_a_picture_to_those_who_cannot_run_it(path: Path) -> None:
    pictures = [output["data"]["image/png"] for output in outputs(path) if "image/png" in output.get("data", {})]

    assert pictures
    assert all(b64decode("".join(picture)).startswith(b"\x89PNG") for picture in pictures)
    # A saved view of a widget is an error message to whoever opens it.
    assert not any(_VIEW in output.get("data", {}) for output in outputs(path))


@each_notebook
def test_one_line_says_where_the_data_come_from_and_what_else_may_stand_there(path: Path) -> None:
    lines = [line for source in code(path) for line in source.splitlines() if re.match(r"SOURCE\b.*=", line)]

    assert len(lines) == 1
    assert "  # " in lines[0]
    assert lines[0] in code(path)[0]


@each_notebook
def test_no_function_of_a_notebook_is_longer_than_five_lines(path: Path) -> None:
    functions = [
        node
        for tree in trees(path)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]

    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 5] == []


@each_notebook
def test_a_notebook_tells_nothing_of_the_computer_it_was_run_on(path: Path) -> None:
    said = json.dumps([{kind: text for kind, text in one.items() if kind != "image/png"} for one in _texts(path)])

    assert _MACHINE.findall(said) == []
    assert Path.home().name not in said or Path.home().name == "root"


def _texts(path: Path) -> list[Json]:
    return [output.get("data", {"text": output.get("text", "")}) for output in outputs(path)]


@each_notebook
def test_a_notebook_is_small_and_of_any_python(path: Path) -> None:
    whole = json.loads(path.read_text(encoding="utf-8"))

    assert path.stat().st_size < 1_000_000
    assert whole["metadata"]["kernelspec"]["name"] == "python3"
    assert whole["metadata"]["language_info"] == {"name": "python"}
    assert [cell["metadata"] for cell in whole["cells"] if cell["metadata"].keys() - {"tags"}] == []


def test_the_page_of_the_notebooks_lists_each_and_no_other() -> None:
    assert re.findall(r"\]\((\d\d-[\w-]+\.ipynb)\)", _README) == [path.name for path in _NOTEBOOKS]


@each_notebook
def test_every_link_of_a_notebook_leads_somewhere(path: Path) -> None:
    text = "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")

    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (path.parent / target).exists(), target


# --- running them ---

_SOURCES = (
    "import tempfile\nfolder = tempfile.mkdtemp()\nprint(1)",
    f"print(f'{{folder}}/tonight')\nprint({str(FOLDER.parent / 'data')!r})",
    "from pmlive.widgets.figures import new_figure\nnew_figure()[0]",
    "import ipywidgets\nipywidgets.IntSlider()",
)


def _blank(*sources: str) -> str:
    blank: Json = {"cell_type": "code", "execution_count": None, "metadata": {"collapsed": False}, "outputs": []}
    written = [blank | {"id": f"cell-{number}", "source": source} for number, source in enumerate(sources)]
    return json.dumps({"cells": written, "metadata": {"widgets": {}}, "nbformat": 4, "nbformat_minor": 5})


def test_a_notebook_that_is_run_has_its_outputs_and_nothing_of_this_run_or_computer(tmp_path: Path) -> None:
    done = json.loads(execute(_blank(*_SOURCES), tmp_path))

    told = [[output.get("data", output.get("text")) for output in cell["outputs"]] for cell in done["cells"]]
    assert [cell["execution_count"] for cell in done["cells"]] == [1, 2, 3, 4]
    assert told[0] == [["1\n"]]
    assert told[1] == [["…/tonight\n", "data\n"]]
    assert sorted(told[2][0]) == ["image/png", "text/plain"]
    assert sorted(told[3][0]) == ["text/plain"]
    assert [cell["metadata"] for cell in done["cells"]] == [{}] * 4
    assert done["metadata"].keys() == {"kernelspec", "language_info"}


def test_a_cell_that_fails_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute(_blank("1 / 0"), tmp_path)


def test_the_notebooks_are_collected_cell_by_cell_and_only_here() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "notebooks"]

    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent, timeout=50, check=True)

    found = set(re.findall(r"(?m)^(\S+\.ipynb)::", done.stdout))
    assert found == {f"notebooks/{path.name}" for path in _NOTEBOOKS}
