"""What all tests share."""

import os

import pytest

# The networks of the tests are tiny, and tests may run side by side: threads would only wait for each other.
# It must be said before torch is imported, which happens when the test files are read.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keep what is remembered on disk away from the user's cache, and from other tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
