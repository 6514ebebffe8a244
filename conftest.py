"""Where the tests of all folders get the markers ``io`` and, for cases that are not ``quick``, ``slow`` from."""

pytest_plugins = ["tests.support.outside", "tests.support.quick"]
