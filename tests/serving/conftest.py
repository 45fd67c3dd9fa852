"""A server that all tests of a file share where they do not change it."""

import pytest
from served import serving


@pytest.fixture(scope="module")
def served():
    with serving() as server:
        yield server
