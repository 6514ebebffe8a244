"""What the documents say is so: their examples run, and their tables are those of the code."""

import re
from pathlib import Path

import pytest

from pmlive.cli import main
from pmlive.settings import NAMES
from pmlive.tables import ROLLING, SCHEMAS, STORED

_ROOT = Path(__file__).parent.parent
_README = (_ROOT / "README.md").read_text()
_DATA = (_ROOT / "data" / "README.md").read_text()
_EXAMPLES = re.findall(r"```python\n(.*?)```", _README, re.DOTALL)


def _rows(text: str, heading: str) -> list[list[str]]:
    """Give the cells of the first table whose heading begins so."""
    _, _, rest = text.partition(f"\n| {heading} |")
    lines = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def _words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_others_read_a_recording_as_its_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", _DATA, re.DOTALL)
    monkeypatch.chdir(_ROOT)

    for line in (line for line in example.splitlines() if "sample" in line):
        there: dict[str, object] = {}
        exec(compile("\n".join([*_imports(example), f"found = {line}"]), "data/README.md", "exec"), there)  # noqa: S102

        assert there["found"] is not None


def _imports(example: str) -> list[str]:
    return [line for line in example.splitlines() if line.startswith("import")]


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda example: example.splitlines()[0])
def test_an_example_of_the_readme_runs(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102  # it is what readers will run


def test_the_readme_shows_code_at_once_and_is_short() -> None:
    lines = _README.splitlines()

    assert len(lines) <= 150
    assert next(at for at, line in enumerate(lines, 1) if line.startswith("```")) <= 15


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "ARCHITECTURE.md",
        "COMPATIBILITY.md",
        "CONTRIBUTING.md",
        "PROTOCOL.md",
        "SECURITY.md",
        "data/README.md",
        "notebooks/README.md",
        "tests/benchmarks/README.md",
    ],
)
def test_every_link_leads_somewhere(document: str) -> None:
    path = _ROOT / document
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_every_table_is_listed() -> None:
    listed = [name for cells in _rows(_README, "table") for name in _words(cells[0])]

    assert sorted(listed) == sorted({*ROLLING, *STORED})


def test_every_column_of_a_recording_is_described() -> None:
    described = {_words(cells[0])[0]: _words(cells[2]) for cells in _rows(_DATA, "table")}

    assert sorted(described) == sorted(STORED)
    for table, words in described.items():
        columns = SCHEMAS[table].names()[4:]
        assert [word for word in words if word in columns] == columns, table


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {words.split()[1] for cells in _rows(_README, "command") for words in _words(cells[0])}

    assert main(["--help"]) == 0

    assert listed == set(re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE))


def test_every_variable_is_named() -> None:
    assert [name for name in NAMES if name not in _README] == []
