"""The real venue, as a person with a network tries it: ``pytest -m live tests/test_live_venue.py``.

It is asked by the variables that ``pmlive`` itself reads, so that a simulated venue can stand in for it: run
``pmlive sim --v2 1`` and set what it prints. Whatever is missing, a network, credentials or a market of protocol V2, is
named by the test that is skipped. ``PMLIVE_LIVE_WORDS`` is a word of the markets to be tried.
"""

import os
from collections.abc import Generator

import pytest
from support import liveness

from pmlive.credentials import Credentials
from pmlive.manager import Manager
from pmlive.settings import Variables, Venue

# As they are when tests are collected: while tests run, no setting of the machine is there.
_GIVEN = Variables(dict(os.environ))

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def venue() -> Venue:
    found = Venue.from_environment(_GIVEN)
    if reason := liveness.reason_unreachable(found):
        pytest.skip(reason)
    return found


@pytest.fixture
def manager(venue: Venue) -> Generator[Manager]:
    with Manager(venue) as made:
        yield made


def test_every_name_of_a_market_means_that_market(manager: Manager) -> None:
    for market in liveness.open_markets(manager):
        liveness.ids_resolve(manager, market)


def test_opening_books_come_and_the_venue_s_hashes_prove_them(manager: Manager) -> None:
    tokens = liveness.watched(manager, liveness.open_markets(manager))

    liveness.books_come(manager, tokens)
    liveness.hashes_verify(manager)


def test_a_market_of_protocol_v2_is_found_and_has_books(manager: Manager) -> None:
    market = liveness.of_protocol_v2(manager)
    if market is None:
        pytest.skip("no market of protocol V2 is listed among what was searched for; set PMLIVE_LIVE_WORDS")

    liveness.ids_resolve(manager, market)
    liveness.books_come(manager, liveness.watched(manager, [market]))


def test_a_reference_price_comes_with_credentials(venue: Venue) -> None:
    found = Credentials.from_environment(_GIVEN, venue=venue)
    if found is None:
        pytest.skip("no credentials: set POLYMARKET_API_KEY, POLYMARKET_SECRET and POLYMARKET_PASSPHRASE")

    with Manager(venue, credentials=found) as manager:
        liveness.reference_price_comes(manager)
