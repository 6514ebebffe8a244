"""Pages of all that is public, made by pdoc: ``python -m tests.support.reference FOLDER``."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pdoc
import pdoc.render

__all__ = ["MODULES", "modules", "write"]

# What COMPATIBILITY.md lists; a test compares them.
MODULES = (
    "pmlive",
    "pmlive.analysis",
    "pmlive.analysis.plots",
    "pmlive.errors",
    "pmlive.events",
    "pmlive.export",
    "pmlive.history",
    "pmlive.manager",
    "pmlive.markets",
    "pmlive.mcp",
    "pmlive.recording",
    "pmlive.sim",
    "pmlive.store",
    "pmlive.tables",
    "pmlive.widgets",
)


def modules() -> Iterator[ModuleType]:
    """Import what is public; names that are loaded when they are first used are loaded, since pdoc does not ask."""
    for name in MODULES:
        module = import_module(name)
        vars(module).update({public: getattr(module, public) for public in module.__all__})
        yield module


def write(folder: Path) -> None:
    """Write the pages into a folder."""
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*(module.__name__ for module in modules()), output_directory=folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
