"""The cell that runs now, so that what it showed when it ran before can be told from what other cells show."""

import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

__all__ = ["Cell", "current_cell"]


class Cell(NamedTuple):
    """A cell of a notebook, and which of its runs this is."""

    name: str
    run: str


def current_cell() -> Cell | None:
    """Return the cell that runs now; None outside of one, as in a script, a terminal or a button's callback.

    A front end that does not say which cell it runs is one whose cells are told apart by their text.
    """
    # Where IPython was not imported, no cell runs.
    ipython = sys.modules.get("IPython")
    shell: object = None if ipython is None else ipython.get_ipython()
    get_parent = cast("Callable[[], object] | None", getattr(shell, "get_parent", None))
    return None if get_parent is None else cell_of(get_parent())


def cell_of(request: object) -> Cell | None:
    """Return the cell that a message of a front end asks to run.

    >>> cell_of({"header": {"msg_id": "7"}, "metadata": {"cellId": "a"}, "content": {"code": "1 + 1"}})
    Cell(name='id a', run='7')
    >>> cell_of({"header": {"msg_id": "8"}, "metadata": {}, "content": {"code": "1 + 1"}})
    Cell(name='text 1 + 1', run='8')
    >>> cell_of({"header": {"msg_id": "9"}, "content": {"comm_id": "a button"}})
    """
    parts = {name: _mapping(request, name) for name in ("header", "metadata", "content")}
    run, code = str(parts["header"].get("msg_id", "")), parts["content"].get("code")
    if not run or not isinstance(code, str):
        return None
    number = parts["metadata"].get("cellId")
    return Cell(f"id {number}" if number else f"text {code}", run)


def _mapping(message: object, name: str) -> Mapping[str, object]:
    part = cast("Mapping[str, object]", message).get(name) if isinstance(message, Mapping) else None
    return cast("Mapping[str, object]", part) if isinstance(part, Mapping) else {}
