"""The magic of notebooks, and when event loops may be nested."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from IPython.core.error import UsageError

import pmlive as pm
from pmlive.widgets.magic import PlainText, pmlive, refusal


class Shell:
    """A shell that keeps the magics it is given."""

    def __init__(self) -> None:
        self.magics: dict[str, Callable[[str], object]] = {}

    def register_magic_function(self, func: Callable[[str], object], magic_kind: str, magic_name: str) -> None:
        self.magics[f"{magic_kind} {magic_name}"] = func


def found(new: str | None, old: str | None = None, kernel: str | None = "7.4.0") -> dict[str, str | None]:
    return {"nest-asyncio2": new, "nest-asyncio": old, "ipykernel": kernel}


def test_loading_the_extension_adds_the_magic() -> None:
    shell = Shell()

    pm.load_ipython_extension(shell)

    assert shell.magics == {"line pmlive": pmlive}


@pytest.mark.parametrize("line", ["", "dance", "nest now"])
def test_an_unknown_word_is_refused_with_those_that_are_known(line: str) -> None:
    with pytest.raises(UsageError, match="there is: %pmlive nest"):
        pmlive(line)


def test_what_is_said_is_shown_without_quotes() -> None:
    assert repr(PlainText("it's done")) == "it's done"


@pytest.mark.parametrize("new", ["1.7.4", "1.8.0", "2.0"])
@pytest.mark.parametrize("old", [None, "1.6.0"])
def test_the_continuation_may_be_applied_from_its_first_sound_version_on(new: str, old: str | None) -> None:
    assert refusal(found(new, old), patched=False) == ""


@pytest.mark.parametrize("new", ["1.7.0", "1.7.2", "1.7.3"])
def test_an_earlier_continuation_is_refused(new: str) -> None:
    assert f"nest-asyncio2 {new} loses queued cells" in refusal(found(new), patched=False)


@pytest.mark.parametrize("kernel", ["7.3.0", "7.4.0", "8.0"])
def test_the_original_is_refused_where_it_loses_cells(kernel: str) -> None:
    reason = refusal(found(None, "1.6.0", kernel), patched=False)

    assert f"nest-asyncio 1.6.0 loses queued cells under ipykernel {kernel}" in reason
    assert "pip install 'nest-asyncio2>=1.7.4'" in reason


def test_an_original_that_was_applied_already_needs_a_new_kernel() -> None:
    assert "restart the kernel" in refusal(found("1.7.4", "1.6.0"), patched=True)
    assert refusal(found("1.7.4", "1.6.0", "7.2.0"), patched=True) == ""


def test_without_the_continuation_its_installation_is_advised() -> None:
    assert refusal(found(None, None), patched=False).startswith("nest-asyncio2 is not installed; run: pip install")


def test_loops_are_nested_on_demand_and_never_before() -> None:
    program = (
        "import asyncio, pmlive\nfrom pmlive.widgets.magic import pmlive as magic\n"
        "print(hasattr(asyncio, '_nest_patched'))\n"
        "async def outer():\n    print(magic('nest'))\n    return asyncio.run(asyncio.sleep(0, 'inner'))\n"
        "print(asyncio.run(outer()))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=30, env=dict(os.environ)
    )

    before, said, inner = done.stdout.splitlines()
    assert before == "False"
    assert said.startswith("nest-asyncio2 1.")
    assert said.endswith("asyncio.run works in cells of this kernel")
    assert inner == "inner"
