"""Imports point downwards, heavy libraries stay where they are shown, and modules stay small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).parent.parent / "pmlive"
_FILES = sorted(_PACKAGE.rglob("*.py"))

_LAYERS = (
    ("errors", "events", "_wire", "book", "integrity", "records", "times", "_streams", "_session"),
    ("logs", "threads", "tables", "levels", "gaps", "progress", "words", "pipeline", "store"),
    ("feed", "replay", "samples", "markets", "settings", "credentials", "proxies", "retries"),
    ("manager", "recording", "export", "captures", "history"),
    ("widgets", "mcp", "cli"),
)
_CORE = _LAYERS[0]
_LAYER = {part: depth for depth, layer in enumerate(_LAYERS) for part in layer}
# These stand beside the layers: what each of them may import of ours, and who may import it.
_APART = {"sim": {*_CORE, "logs", "threads"}, "analysis": set(_CORE) | {"tables", "gaps"}}
_USES_APART = {
    "sim": {"manager", "widgets", "mcp", "cli"},
    "analysis": {"manager", "recording", "widgets", "mcp", "cli"},
}
# A manager's `dashboard()` and `serve_mcp()` name what they give for type checkers, and import it when they are called.
_NAMED_ABOVE = {("manager/core.py", "widgets"), ("manager/core.py", "mcp")}
# Entry points that only gather or start the others.
_ENTRY = {"__init__", "__main__"}

# Which parts may import what is heavy, or what the core must not have.
_ONLY_IN = {
    "numpy": {"pipeline", "analysis", "export", "recording", "widgets"},
    "duckdb": {"export"},
    "websockets": {"feed", "sim"},
    "httpx": {"markets", "credentials", "proxies"},
    "anywidget": {"widgets"},
    "ipywidgets": {"widgets"},
    "IPython": {"widgets"},
    "traitlets": {"widgets"},
    # Outside of widgets, for type checkers only: what `figure()` and `plot()` give; of `analysis` only `plots` has it.
    "matplotlib": {"widgets", "recording", "manager", "analysis"},
    "mcp": {"mcp"},
    "eth_account": {"credentials"},
    "rich": {"cli"},
    "shtab": {"cli"},
}
_NOT_IN_CORE = {
    "numpy",
    "polars",
    "pyarrow",
    "websockets",
    "httpx",
    "time",
    "asyncio",
    "logging",
    "socket",
    "threading",
    "random",
    "os",
    "pathlib",
    "io",
}
_HEAVY = (
    "numpy",
    "polars",
    "pyarrow",
    "anywidget",
    "ipywidgets",
    "matplotlib",
    "pandas",
    "mcp",
    "websockets",
    "httpx",
    "IPython",
    "rich",
    "shtab",
)

# What the venue calls things: outside `_wire` only the text that its hash covers, and the simulated venue, may say so.
_VENUE_WORDS = (
    "assets_ids",
    "asset_id",
    "event_type",
    "price_changes",
    'last_trade_price":',
    "conditionId",
    "clobTokenIds",
)
_MAY_SPEAK_VENUE = {"_wire", "sim", "markets", "integrity"}
# These vendors name the columns of their files as the venue names the fields of its messages.
_COLUMNS_OF_VENDORS = {"history/pmxt.py", "history/telonex.py"}


def part_of(path: Path) -> str:
    return path.relative_to(_PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(_PACKAGE))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> list[str]:
    """Name every module that a file imports, at any depth, as `pmlive.part...` or as its top-level library."""
    return list(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    inside = ["pmlive", *path.relative_to(_PACKAGE).with_suffix("").parts][:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*inside[: len(inside) - node.level + 1], node.module or ""]) if node.level else node.module
            yield base or ""
            if base == "pmlive":
                yield from (f"pmlive.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    parts = {name.split(".")[1] for name in imports_of(path) if name.startswith("pmlive.")}
    return {part for part in parts if (_PACKAGE / part).exists() or (_PACKAGE / f"{part}.py").exists()}


def libraries(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)} - {"pmlive"}


def test_every_module_belongs_to_a_layer() -> None:
    assert {part_of(path) for path in _FILES} <= _LAYER.keys() | _APART.keys() | _ENTRY


def test_imports_point_downwards() -> None:
    wrong = [
        f"{name_of(path)} imports {imported}"
        for path in _FILES
        if part_of(path) not in _ENTRY
        for imported in ours(path) - {part_of(path)}
        if (name_of(path), imported) not in _NAMED_ABOVE and not may_import(part_of(path), imported)
    ]

    assert wrong == []


def may_import(part: str, imported: str) -> bool:
    if part in _APART:
        return imported in _APART[part]
    if imported in _APART:
        return part in _USES_APART[imported]
    return _LAYER[imported] <= _LAYER[part]


def test_a_heavy_library_is_imported_where_it_is_shown_and_nowhere_else() -> None:
    wrong = [
        f"{name_of(path)} imports {library}"
        for path in _FILES
        for library in libraries(path)
        if library in _ONLY_IN and part_of(path) not in _ONLY_IN[library]
    ]

    assert wrong == []


def test_only_the_plots_of_analysis_know_matplotlib_and_the_rest_does_not_know_them() -> None:
    others = [path for path in _FILES if part_of(path) == "analysis" and path.parent.name != "plots"]

    assert [name_of(path) for path in others if "matplotlib" in libraries(path)] == []
    assert [name_of(path) for path in others if any("analysis.plots" in name for name in imports_of(path))] == []


def test_the_core_has_no_clock_no_socket_and_no_log() -> None:
    core = [path for path in _FILES if part_of(path) in _CORE]

    assert {name_of(path): libraries(path) & _NOT_IN_CORE for path in core} == {name_of(path): set() for path in core}
    assert libraries(_PACKAGE / "tables.py") & _NOT_IN_CORE <= {"polars", "pyarrow"}


def test_importing_the_analyses_imports_no_matplotlib() -> None:
    program = "import sys, pmlive.analysis; print('matplotlib' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=30, cwd=_PACKAGE.parent
    )

    assert done.stdout.strip() == "False"


@pytest.mark.skipif(not (_PACKAGE / "__init__.py").exists(), reason="the package has no front yet")
def test_importing_the_package_imports_nothing_heavy() -> None:
    program = f"import sys, pmlive; print(sorted(set({_HEAVY!r}) & set(sys.modules)))"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=30, cwd=_PACKAGE.parent
    )

    assert done.stdout.strip() == "[]"


def test_no_module_is_longer_than_600_lines() -> None:
    lines = {name_of(path): path.read_text(encoding="utf-8").count("\n") for path in _FILES}

    assert {name: count for name, count in lines.items() if count > 600} == {}


def test_no_function_is_longer_than_40_lines() -> None:
    long = [
        f"{node.name} in {name_of(path)} ({(node.end_lineno or 0) - node.lineno + 1} lines)"
        for path in _FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 40
    ]

    assert long == []


def test_only_the_wire_knows_what_the_venue_calls_things() -> None:
    spoken = [
        f"{word} in line {node.lineno} of {name_of(path)}"
        for path in _FILES
        if part_of(path) not in _MAY_SPEAK_VENUE and name_of(path) not in _COLUMNS_OF_VENDORS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in _VENUE_WORDS
        if word in node.value
    ]

    assert spoken == []


def test_the_rules_see_the_imports() -> None:
    assert "polars" in libraries(_PACKAGE / "tables.py")
    assert "errors" in ours(_PACKAGE / "book.py")
    assert "errors" in ours(_PACKAGE / "_wire" / "incoming.py")
