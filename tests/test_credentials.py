"""Credentials: whence they come, and that nothing shows them."""

import copy
import json
import logging
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st
from support.http import Answer, Request, Server, serving

from pmlive.credentials import Credentials
from pmlive.errors import AuthError, FeedError
from pmlive.settings import Secret, Variables, Venue

API_KEY = "0a1b2c3d-1111-2222-3333-cafecafecafe"
SECRET = "Q2FuYXJ5U2VjcmV0Q2FuYXJ5U2VjcmV0Q2FuYXJ5U2U="
PASSPHRASE = "f00dfeed" * 8
WALLET_KEY = "0x" + "c0ffee5e" * 8
ADDRESS = Account.from_key(WALLET_KEY).address
CANARIES = (API_KEY, SECRET, PASSPHRASE, WALLET_KEY[2:])

THREE = {"POLYMARKET_API_KEY": API_KEY, "POLYMARKET_SECRET": SECRET, "POLYMARKET_PASSPHRASE": PASSPHRASE}
ISSUED = json.dumps({"apiKey": API_KEY, "secret": SECRET, "passphrase": PASSPHRASE})
LEAVING: list[Callable[[object], object]] = [
    pickle.dumps,
    copy.copy,
    copy.deepcopy,
    json.dumps,
    msgspec.json.encode,
    msgspec.msgpack.encode,
    msgspec.to_builtins,
    vars,
    bytes,  # pyright: ignore[reportAssignmentType] - what it refuses is the point
    iter,  # pyright: ignore[reportAssignmentType]
    len,  # pyright: ignore[reportAssignmentType]
]


def assert_hidden(text: str) -> None:
    for canary in CANARIES:
        assert canary not in text
        assert canary[:8] not in text


def venue(server: Server) -> Venue:
    return Venue(clob=server.url)


def wallet(**others: str) -> Variables:
    return Variables({"POLYGON_PRIVATE_KEY": WALLET_KEY, **others})


def issuing(request: Request) -> Answer:
    return Answer("1793000000") if request.path == "/time" else Answer(ISSUED)


@pytest.mark.parametrize("show", [repr, str, format, "{:>80}".format, "%s".__mod__, ascii])
def test_a_secret_is_masked_however_it_is_printed(show: Callable[[object], str]) -> None:
    assert_hidden(show(Secret(SECRET)))
    assert "***" in show(Secret(SECRET))


@pytest.mark.parametrize("leave", LEAVING)
def test_a_secret_refuses_to_be_turned_into_something_else(leave: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as refused:
        leave(Secret(SECRET))

    assert_hidden(str(refused.value))


@pytest.mark.parametrize("leave", LEAVING)
def test_credentials_refuse_to_be_turned_into_something_else(leave: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as refused:
        leave({"kept": Credentials(API_KEY, SECRET, PASSPHRASE)}["kept"])

    assert_hidden(str(refused.value))


def test_a_secret_cannot_be_taken_apart() -> None:
    with pytest.raises(TypeError):
        Secret(SECRET).__getstate__()
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret(SECRET))


@given(st.text(), st.text())
def test_secrets_are_equal_when_their_texts_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) != one


def test_only_reveal_gives_the_text() -> None:
    assert Secret(Secret(SECRET)).reveal() == SECRET


def test_nothing_in_the_environment_means_no_credentials_and_no_question() -> None:
    assert Credentials.from_environment(Variables({"POLYGON_ADDRESS": ADDRESS})) is None


@pytest.mark.parametrize("name", ["POLYMARKET_SECRET", "POLYMARKET_API_SECRET"])
def test_the_three_values_are_taken_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {**THREE, name: SECRET}.items():
        monkeypatch.setenv(variable, value)
    if name != "POLYMARKET_SECRET":
        monkeypatch.delenv("POLYMARKET_SECRET")

    found = Credentials.from_environment()

    assert found is not None
    assert [each.reveal() for each in (found.api_key, found.secret, found.passphrase)] == [API_KEY, SECRET, PASSPHRASE]
    assert repr(found) == "Credentials('***')"


@pytest.mark.parametrize("name", THREE)
def test_a_missing_variable_is_named(name: str) -> None:
    given = {other: value for other, value in THREE.items() if other != name}

    with pytest.raises(AuthError, match=f"{name}.* is not set") as refused:
        Credentials.from_environment(Variables({**given, "POLYGON_PRIVATE_KEY": WALLET_KEY}))

    assert_hidden(shown(refused))


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("value", ["canary canary", '"canary', "canary\u00e9", "canary\x1b[2J", "<canary>"])
def test_a_malformed_value_is_refused_with_the_form_that_is_expected(name: str, value: str) -> None:
    with pytest.raises(AuthError, match=f"{name} must be (a UUID|base64 text|text)") as refused:
        Credentials.from_environment(Variables({**THREE, name: value}))

    assert "canary" not in shown(refused)
    assert not any(letter.isdigit() for letter in str(refused.value).replace("base64", ""))


def test_a_wallets_key_is_never_taken_for_an_api_key() -> None:
    with pytest.raises(AuthError, match=r"POLYMARKET_API_KEY .* never put a wallet's private key there") as refused:
        Credentials.from_environment(Variables({**THREE, "POLYMARKET_API_KEY": WALLET_KEY}))

    assert_hidden(shown(refused))


def test_values_of_a_form_that_the_venue_does_not_issue_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    Credentials("canary", SECRET, PASSPHRASE)

    assert "api_key is not a UUID" in caplog.text
    assert "canary" not in caplog.text


def test_credentials_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(AuthError, match="secret must be base64 text"):
        Credentials(API_KEY, None, PASSPHRASE)  # pyright: ignore[reportArgumentType] - callers may be untyped


def test_a_wallet_derives_its_credentials_by_a_signature_that_proves_its_address() -> None:
    """The typed data is the one of the venue's documentation of its first level of authentication."""
    with serving(issuing) as server:
        found = Credentials.from_environment(wallet(POLYGON_ADDRESS=ADDRESS.lower()), venue=venue(server))

    assert found is not None
    assert found.secret.reveal() == SECRET
    assert server.paths == ["/time", "/auth/derive-api-key"]
    sent = server.requests[-1].headers
    assert (sent["poly_address"], sent["poly_timestamp"], sent["poly_nonce"]) == (ADDRESS, "1793000000", "0")
    assert recovered(sent) == ADDRESS


def test_a_wallet_without_credentials_yet_has_them_created() -> None:
    def answer(request: Request) -> Answer:
        return Answer("", 404) if request.path == "/auth/derive-api-key" else issuing(request)

    with serving(answer) as server:
        found = Credentials.from_environment(wallet(), venue=venue(server))

    assert found is not None
    assert [(request.method, request.path) for request in server.requests][1:] == [
        ("GET", "/auth/derive-api-key"),
        ("POST", "/auth/api-key"),
    ]
    assert recovered(server.requests[-1].headers) == ADDRESS


@pytest.mark.parametrize("key", ["0x1234", "zz" * 32, "c0ffee5e" * 8 + "0", "0" * 64, "f" * 64])
def test_a_malformed_wallet_key_is_refused_without_showing_it(key: str) -> None:
    with serving(issuing) as server, pytest.raises(AuthError, match="POLYGON_PRIVATE_KEY") as refused:
        Credentials.from_environment(Variables({"POLYGON_PRIVATE_KEY": key}), venue=venue(server))

    assert key not in shown(refused)
    assert "/auth/derive-api-key" not in server.paths


def test_an_address_of_another_wallet_is_refused_before_anything_is_signed_for() -> None:
    with serving(issuing) as server, pytest.raises(AuthError, match=f"which is {ADDRESS}") as refused:
        Credentials.from_environment(wallet(POLYGON_ADDRESS="0x" + "11" * 20), venue=venue(server))

    assert_hidden(shown(refused))
    assert server.paths == ["/time"]


def test_a_refusal_an_overload_and_nonsense_are_told_apart_and_hide_the_key() -> None:
    for answer, error in (
        (Answer("{}", 401), AuthError),
        (Answer("", 503), FeedError),
        (Answer(json.dumps({"apiKey": API_KEY, "secret": SECRET})), AuthError),
        (Answer(f"[{SECRET}"), AuthError),
    ):
        with serving(after_the_time(answer)) as server, pytest.raises(error) as refused:
            Credentials.from_environment(wallet(), venue=venue(server))

        assert_hidden(shown(refused))
        assert server.requests[-1].headers["poly_signature"] not in shown(refused)


def test_an_unreachable_venue_is_a_feed_error() -> None:
    with serving(issuing) as server:
        gone = venue(server)

    with pytest.raises(FeedError, match="cannot be reached") as refused:
        Credentials.from_environment(wallet(), venue=gone)

    assert_hidden(shown(refused))


def test_without_eth_account_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eth_account", None)

    with serving(issuing) as server, pytest.raises(AuthError, match=r"pip install 'pmlive\[auth\]'") as refused:
        Credentials.from_environment(wallet(), venue=venue(server))

    assert_hidden(shown(refused))


def test_no_logger_at_any_level_shows_what_was_derived(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    with serving(issuing) as server:
        Credentials.from_environment(wallet(), venue=venue(server))

    assert "/auth/derive-api-key" in caplog.text
    assert_hidden(caplog.text)
    assert server.requests[-1].headers["poly_signature"] not in caplog.text


def test_a_file_of_the_working_directory_gives_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("".join(f"{name}={value}\n" for name, value in THREE.items()))
    path.chmod(0o600)
    monkeypatch.chdir(tmp_path)

    found = Credentials.from_environment()

    assert found is not None
    assert found.passphrase == Secret(PASSPHRASE)


def after_the_time(answer: Answer) -> Callable[[Request], Answer]:
    return lambda request: issuing(request) if request.path == "/time" else answer


def recovered(headers: Mapping[str, str]) -> str:
    statement = encode_typed_data(
        {"name": "ClobAuthDomain", "version": "1", "chainId": 137},
        {
            "ClobAuth": [
                {"name": "address", "type": "address"},
                {"name": "timestamp", "type": "string"},
                {"name": "nonce", "type": "uint256"},
                {"name": "message", "type": "string"},
            ]
        },
        {
            "address": headers["poly_address"],
            "timestamp": headers["poly_timestamp"],
            "nonce": int(headers["poly_nonce"]),
            "message": "This message attests that I control the given wallet",
        },
    )
    return str(Account.recover_message(statement, signature=headers["poly_signature"]))


# Frames of this file hold the canaries by name; those of the library are what counts.
def shown(refused: "pytest.ExceptionInfo[Exception]") -> str:
    told = [str(refused.value)]
    error: BaseException | None = refused.value
    while error is not None:
        summary = traceback.TracebackException.from_exception(error, capture_locals=True)
        told += ["".join(f.locals.values()) for f in summary.stack if f.locals and f.filename != __file__]
        error = error.__cause__ or error.__context__
    return "\n".join(told)
