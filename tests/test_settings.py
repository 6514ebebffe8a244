"""Settings: which address and folder are used, and what is refused."""

import copy
import pickle
import warnings
from pathlib import Path

import pytest

from pmlive.settings import Variables, Venue, data_dir, is_loopback

LOOPBACK = [
    ("clob_ws", "ws://127.0.0.1:8000/ws"),
    ("live_data", "ws://localhost:8000"),
    ("prices_ws", "ws://[::1]:8000/ws"),
    ("clob", "http://127.1.2.3"),
    ("gamma", "http://127.0.0.1:1/x"),
]
REFUSED = [
    "http://clob.polymarket.com",
    "http://127.0.0.1.example.com",
    "http://localhost@example.com",
    "https://user:canary@example.com",
    "https://example.com/?key=canary",
    "https://example.com/#canary",
    "wss://example.com",
    "ftp://127.0.0.1",
    "file:///etc/passwd",
    "https://",
    "https://example.com:port",
    "https://example.com/a b",
    "https://[",
    "clob.polymarket.com",
    "https://exa\x1bmple.com",
]


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / ".env"
    path.write_text(text)
    path.chmod(mode)
    return folder


def test_the_default_venue_is_polymarket() -> None:
    assert Venue.from_environment(Variables({})) == Venue(
        clob_ws="wss://ws-subscriptions-clob.polymarket.com/ws",
        live_data="wss://ws-live-data.polymarket.com",
        prices_ws="wss://ws-live-v2.polymarket.com/ws",
        clob="https://clob.polymarket.com",
        gamma="https://gamma-api.polymarket.com",
        data="https://data-api.polymarket.com",
    )


@pytest.mark.parametrize(("field", "url"), LOOPBACK)
def test_loopback_addresses_may_be_in_clear(field: str, url: str) -> None:
    assert getattr(Venue.from_environment(Variables({}), **{field: url}), field) == url


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_that_could_leak_is_refused_by_name_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"clob \(PMLIVE_CLOB_URL\) must have the form https://host") as refused:
        Venue.from_environment(Variables({"PMLIVE_CLOB_URL": url}))

    assert "canary" not in str(refused.value)
    assert "loopback" in str(refused.value)


def test_an_address_that_is_not_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="gamma"):
        Venue(gamma=None)  # pyright: ignore[reportArgumentType] - callers may be untyped


def test_a_slash_at_the_end_of_an_address_makes_no_difference() -> None:
    assert Venue(clob="https://example.com/") == Venue(clob=" https://example.com ")


def test_an_argument_wins_over_a_variable_and_a_variable_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(
        tmp_path, "PMLIVE_CLOB_URL=https://c.file\nPMLIVE_GAMMA_URL=https://g.file\nPMLIVE_CLOB_WS_URL=wss://w.file"
    )
    monkeypatch.setenv("PMLIVE_CLOB_URL", "https://c.variable")
    monkeypatch.setenv("PMLIVE_GAMMA_URL", "https://g.variable")
    monkeypatch.chdir(tmp_path)

    with pytest.warns(UserWarning, match="PMLIVE_CLOB_WS_URL comes from"):
        venue = Venue.from_environment(clob="https://c.argument")

    assert (venue.clob, venue.gamma, venue.clob_ws) == ("https://c.argument", "https://g.variable", "wss://w.file")


def test_an_empty_variable_counts_as_not_given_and_hides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMLIVE_CLOB_URL", "")

    assert "PMLIVE_CLOB_URL" not in Variables.read(written(tmp_path, "PMLIVE_CLOB_URL=https://c.file"))


def test_the_file_may_have_comments_quotes_and_exports(tmp_path: Path) -> None:
    text = """
    # a comment
    export PMLIVE_CLOB_URL = https://c.file   # why
    PMLIVE_GAMMA_URL="https://g.file" # why
    POLYMARKET_PASSPHRASE='a # b'
    POLYMARKET_SECRET=abc=#d
    OTHER_PROGRAM=1
    """
    found = Variables.read(written(tmp_path, text))

    assert {name: found[name] for name in found if not name.startswith("PMLIVE_DATA")} == {
        "PMLIVE_CLOB_URL": "https://c.file",
        "PMLIVE_GAMMA_URL": "https://g.file",
        "POLYMARKET_PASSPHRASE": "a # b",
        "POLYMARKET_SECRET": "abc=#d",
    }


def test_a_line_of_the_file_that_sets_nothing_is_named_by_its_number(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"\.env, line 2, is not NAME=value") as warned:
        Variables.read(written(tmp_path, "PMLIVE_CLOB_URL=https://c.file\nPOLYMARKET_SECRET canary\n"))

    assert "canary" not in str(warned[0].message)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_secrets_in_a_file_that_others_can_read_are_warned_of(tmp_path: Path, mode: int) -> None:
    with pytest.warns(UserWarning, match=r"holds POLYMARKET_SECRET and other users .* chmod 600"):
        Variables.read(written(tmp_path, "POLYMARKET_SECRET=canary", mode))


def test_a_private_file_or_one_without_secrets_is_not_warned_of(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="error"):
        Variables.read(written(tmp_path, "POLYMARKET_SECRET=canary", 0o600))
        Variables.read(written(tmp_path, "PMLIVE_CLOB_URL=https://c.file", 0o644))
        Variables.read(tmp_path / "missing")


def test_variables_show_their_names_only_and_cannot_be_copied_out() -> None:
    variables = Variables({"POLYMARKET_SECRET": "canary", "HOME": "/root"})

    assert repr(variables) == "Variables(POLYMARKET_SECRET)"
    for leave in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            leave(variables)


def test_recordings_go_where_the_variable_says_or_to_the_users_data_folder() -> None:
    assert data_dir(Variables({"PMLIVE_DATA_DIR": "~/kept"})) == Path.home() / "kept"
    assert data_dir(Variables({})).name == "pmlive"


def test_only_this_computer_is_loopback() -> None:
    assert is_loopback("ws://localhost:1")
    assert not is_loopback("ws://localhost.example.com")
    assert not is_loopback("ws://0.0.0.0")
