"""What the pages for whoever changes pmlive say is so: their examples are read, and their lists are the code's."""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from pmlive import _wire
from pmlive.events import Channel, Malformed, Unknown
from pmlive.records import Kind

_ROOT = Path(__file__).parent.parent
_PROTOCOL = (_ROOT / "PROTOCOL.md").read_text(encoding="utf-8")
_COMPATIBILITY = (_ROOT / "COMPATIBILITY.md").read_text(encoding="utf-8")
_CITATION = (_ROOT / "CITATION.cff").read_text(encoding="utf-8")
_SECURITY = (_ROOT / "SECURITY.md").read_text(encoding="utf-8")
_ARCHITECTURE = (_ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
_CONTRIBUTING = (_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_RELEASES = dict(
    re.findall(r"^## \[([\d.]+)\] - (\d{4}-\d\d-\d\d)$", (_ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
)
# Classes of other libraries that the page names.
_OTHERS_CLASSES = {"DataFrame", "Viewport"}
_CREDENTIALS = {"api_key": "KEY", "secret": "SECRET", "passphrase": "PASSPHRASE"}


def _examples(language: str) -> list[str]:
    blocks = re.findall(rf"```json {language}\n(.*?)```", _PROTOCOL, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("channel", get_args(Channel))
def test_every_message_in_the_protocol_page_is_understood(channel: Channel) -> None:
    examples = _examples(channel)

    assert examples
    for example in examples:
        events = _wire.decode(channel, example)

        assert events
        assert not [event for event in events if isinstance(event, Malformed | Unknown)], example


def test_the_frames_in_the_protocol_page_are_those_that_are_sent() -> None:
    sent = [
        _wire.subscribe_market(["711", "712"], first=True),
        _wire.subscribe_market(["713"], first=False),
        _wire.unsubscribe_market(["713"]),
        _wire.subscribe_user(["0xc0"], _CREDENTIALS),
        _wire.subscribe_user(["0xc1"], None),
        _wire.unsubscribe_user(["0xc1"]),
        _wire.subscribe_realtime("activity", "fed-decision"),
        _wire.subscribe_realtime("crypto_prices_chainlink", "btc/usd"),
        _wire.subscribe_realtime("crypto_prices", "btcusdt"),
        _wire.authenticate(_CREDENTIALS),
        _wire.subscribe_prices("price.crypto", "btcusd"),
        _wire.subscribe_prices("price.crypto.twap", "btcusd"),
        _wire.subscribe_prices("price.equity", "eurusd", "chainlink"),
        _wire.ping("prices"),
    ]

    assert _examples("sent") == sent


def test_the_hash_in_the_protocol_page_is_that_of_its_text() -> None:
    [text] = _examples("hashed")

    assert json.loads(text)["hash"] == ""
    assert hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() in _PROTOCOL


def test_the_tests_that_the_security_page_names_are_there() -> None:
    named = re.findall(r"`(test_[a-z_]+\.py)`", _SECURITY)

    assert named
    assert [name for name in named if not (_ROOT / "tests" / name).exists()] == []


def test_every_kind_of_record_is_told_of() -> None:
    _, _, table = _COMPATIBILITY.partition("\n| kind |")
    rows = table.split("\n\n")[0].splitlines()[2:]

    assert {kind for row in rows for kind in re.findall(r"`([a-z]+)`", row.split("|")[1])} == set(Kind)


def test_a_citation_names_what_the_project_says_of_itself() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = _CITATION.splitlines()

    for field, key in (("title", "name"), ("version", "version"), ("license", "license"), ("abstract", "description")):
        assert f"{field}: {project[key]}" in lines
    assert f"date-released: {_RELEASES[project['version']]}" in lines
    assert [f"  - name: {author['name']}" for author in project["authors"]] == [
        line for line in lines if line.startswith("  - name:")
    ]
    assert project["keywords"] == _CITATION.strip().partition("keywords:\n")[2].removeprefix("  - ").split("\n  - ")


def test_the_files_that_the_pages_name_are_there() -> None:
    pages = (_PROTOCOL, _SECURITY, _COMPATIBILITY, _CONTRIBUTING, _ARCHITECTURE)
    named = {name for page in pages for name in re.findall(r"`((?:pmlive|tests|data)/[\w./-]+)`", page)}

    assert named
    assert sorted(name for name in named if not (_ROOT / name).exists()) == []


def test_the_classes_that_the_architecture_names_are_there() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (_ROOT / "pmlive").rglob("*.py")]
    defined = {name for source in sources for name in re.findall(r"^class (\w+)", source, re.MULTILINE)}
    named = set(re.findall(r"`([A-Z][a-z]\w+)(?:\.\w+)?`", _ARCHITECTURE))

    assert named
    assert sorted(named - defined - _OTHERS_CLASSES) == []


def test_the_parts_that_the_architecture_lists_are_those_of_the_package() -> None:
    _, _, table = _ARCHITECTURE.partition("\n| layer |")
    rows = table.split("\n\n")[0].splitlines()[2:]
    listed = {part for row in rows for part in re.findall(r"`(\w+)`", row.split("|")[2])}

    files = list((_ROOT / "pmlive").glob("*.py")) + [path.parent for path in (_ROOT / "pmlive").glob("*/__init__.py")]
    assert listed == {path.stem for path in files} - {"__init__", "__main__"}


def test_the_markers_that_are_told_of_are_those_of_the_tests() -> None:
    options = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    markers = {re.split(r"\W", marker)[0] for marker in options["markers"]}

    assert set(re.findall(r"^\| `(\w+)` \|", _CONTRIBUTING, re.MULTILINE)) == markers
