"""A folder of tiny images, and a place where commands may write."""

import importlib

import pytest
from command_line import make_trees


@pytest.fixture(autouse=True, scope="module")
def _few_latency_rounds():
    """Measure the latency in two rounds: how long a call takes is not judged here."""
    with pytest.MonkeyPatch.context() as patch:
        # By its path: the package has a function of the same name.
        patch.setattr(importlib.import_module("leannet.report.compare"), "LATENCY_ROUNDS", 2)
        yield


@pytest.fixture(autouse=True)
def _own_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("LEANNET_RUNS", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """Three classes, eight training and five test images of each; not to be changed."""
    return make_trees(tmp_path_factory.mktemp("images") / "trees")
