from importlib import import_module
from pathlib import Path

from pmlive import analysis

# The colours are not of an analysis; figures take them from there.
_MODULES = [
    import_module(f"pmlive.analysis.{path.stem}")
    for path in sorted(Path(str(analysis.__file__)).parent.glob("[a-z]*.py"))
    if path.stem != "palette"
]


def test_the_package_gives_out_what_its_modules_do() -> None:
    names = {name for module in _MODULES for name in module.__all__}

    assert names <= set(analysis.__all__)
    assert all(hasattr(analysis, name) for name in names)


def test_no_two_modules_give_out_the_same_name() -> None:
    names = [name for module in _MODULES for name in module.__all__]

    assert len(names) == len(set(names))
