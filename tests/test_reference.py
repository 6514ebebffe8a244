"""The reference of all that is public, as pdoc makes it: its links lead somewhere, and everything has a docstring."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import cast
from urllib.parse import unquote

import pytest

pytest.importorskip("pdoc", reason="pdoc comes with the extra `docs`")

import pdoc.doc
from support.reference import MODULES, modules, write

_COMPATIBILITY = (Path(__file__).parent.parent / "COMPATIBILITY.md").read_text(encoding="utf-8")


class _Page(HTMLParser):
    """The names of a page's places, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = {""}
        self.links: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        given = dict(attrs)
        self.places.add(given.get("id") or "")
        self.links.add(given.get("href") or "")


def _broken(pages: dict[Path, _Page]) -> Iterator[str]:
    for path, page in pages.items():
        for link in page.links:
            file, _, place = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if ":" not in link and (target not in pages or unquote(place) not in pages[target].places):
                yield f"{path.name}: {link}"


def test_the_reference_has_all_that_is_public() -> None:
    _, _, table = _COMPATIBILITY.partition("\n| public |")
    cells = [row.split("|")[1] for row in table.split("\n\n")[0].splitlines()[2:]]

    assert sorted({"pmlive", *re.findall(r"`(pmlive\.[\w.]+)`", " ".join(cells))}) == list(MODULES)


@pytest.mark.io  # pdoc has the index of its search made by Node, where there is one
def test_every_link_of_the_reference_leads_somewhere(tmp_path: Path) -> None:
    write(tmp_path)

    pages = {path: _Page(path) for path in tmp_path.rglob("*.html")}
    assert len(pages) > len(MODULES)
    assert sorted(_broken(pages)) == []


def test_everything_public_has_a_docstring() -> None:
    assert sorted(name for module in modules() for name in _undocumented(pdoc.doc.Module(module))) == []


def _undocumented(namespace: pdoc.doc.Module | pdoc.doc.Class) -> Iterator[str]:
    """List the classes and functions of ours without one; what they inherit from others is not ours to document."""
    members = cast("dict[str, pdoc.doc.Doc[object]]", namespace.members)  # pyright: ignore[reportUnknownMemberType]
    for member in members.values():
        is_ours = member.taken_from[0].startswith("pmlive") and not member.name.startswith("_")
        if is_ours and isinstance(member, pdoc.doc.Class | pdoc.doc.Function) and not member.docstring:
            yield member.fullname
        if is_ours and isinstance(member, pdoc.doc.Class):
            yield from _undocumented(member)
