"""What holds for every test: no setting of the machine reaches it, and a failing example can be repeated."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.logging import LogCaptureHandler
from hypothesis import HealthCheck, settings

from pmlive import logs

# Helpers and benchmarks hold no tests, and some need what the tests do not.
collect_ignore = ["benchmarks", "conformance", "support"]

# The machine may be busy with other work, so no single example has a deadline; each test has a time-out instead.
settings.register_profile("all", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# Tests are run after every change, so they try a fifth of their examples; `--hypothesis-profile all` tries all.
settings.register_profile("quick", settings.get_profile("all"), max_examples=20)
settings.load_profile("quick")


def pytest_configure(config: pytest.Config) -> None:
    """Let the slow tests try all examples; this is before the modules with tests are imported."""
    if config.getoption("markexpr") == "slow":
        settings.load_profile("all")


@pytest.fixture(scope="session", autouse=True)
def only_settings_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("POLYMARKET_", "POLYGON_", "PMLIVE_"))]:
            patch.delenv(name)
        # Where no bytecode is kept, each of the many programs that tests start would compile the package anew.
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        data: Path = tmp_path_factory.mktemp("data")
        patch.setenv("PMLIVE_DATA_DIR", str(data))
        # Tests that count threads need not think of the log's.
        logs.hand_over(lambda: None)
        yield


class Caught(pytest.LogCaptureFixture):  # pyright: ignore[reportGeneralTypeIssues]  # pytest offers no other way
    """What was logged so far, all of it: lines of the package come to the handlers a moment later."""

    @property
    def handler(self) -> LogCaptureHandler:
        logs.flush(10.0)
        return super().handler


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.__class__ = Caught
    return caplog
