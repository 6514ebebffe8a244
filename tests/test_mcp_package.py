"""What the package costs those who do not use it, and what it says where the SDK is missing."""

import subprocess
import sys

import pytest

import pmlive.mcp


def said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


def test_importing_the_package_imports_no_sdk() -> None:
    heavy = ("mcp", "mcp_types", "pydantic", "polars", "uvicorn")

    assert said(f"import sys, pmlive.mcp; print(set({heavy}) & set(sys.modules))").strip() == "set()"


@pytest.mark.parametrize("name", ["mount", "serve", "tools", "Tools"])
def test_without_the_sdk_it_says_what_to_install(name: str) -> None:
    code = (
        "import sys; sys.modules['mcp'] = sys.modules['mcp_types'] = sys.modules['uvicorn'] = None\n"
        f"try:\n    from pmlive.mcp import {name}\n"
        "except ImportError as error:\n    print(error)"
    )

    told = said(code)

    assert told.startswith(f"{name} needs ")
    assert "pip install 'pmlive[mcp]'" in told


def test_every_public_name_is_there_and_no_other() -> None:
    assert [name for name in pmlive.mcp.__all__ if getattr(pmlive.mcp, name) is None] == []
    assert dir(pmlive.mcp) == pmlive.mcp.__all__
    with pytest.raises(AttributeError, match="no attribute 'mounted'"):
        _ = pmlive.mcp.mounted  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
