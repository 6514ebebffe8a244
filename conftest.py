"""Where the tests of all folders get the marker ``io`` from."""

pytest_plugins = ["tests.support.outside", "tests.support.quick"]
