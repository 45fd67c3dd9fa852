"""What is written down about the circumstances of a run."""

import importlib
import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata

import torch

from leannet.training import environment

MODULE = importlib.import_module("leannet.training.environment")  # by its path: the package has a function so called


def test_versions_and_machine():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["leannet"] == metadata.version("leannet")
    assert found["python"] == platform.python_version()
    needed = {"accelerate", "numpy", "pillow", "timm", "torch", "torchvision"}
    runtimes = {"executorch", "onnx", "onnxruntime", "onnxscript", "openvino", "scipy"}
    there = {each.name for each in metadata.distributions()}
    assert set(found["packages"]) == needed | (runtimes & there)
    assert all(version == metadata.version(name) for name, version in found["packages"].items())
    machine = found["machine"]
    assert machine["system"] == platform.system()
    assert machine["processor"]
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert machine["threads"] == torch.get_num_threads()
    assert len(machine["gpus"]) == torch.cuda.device_count()


def test_command_is_ready_to_be_typed(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/leannet", "compare", "--data", "my images"])
    assert environment()["command"] == "leannet compare --data 'my images'"
    monkeypatch.setattr(sys, "argv", ["/lib/leannet_cli/__main__.py", "train", "sm_v2"])
    assert environment()["command"] == "leannet train sm_v2"
    for program in ("pytest", "ipykernel_launcher.py", "__main__.py"):
        (tmp_path / program).touch()
        monkeypatch.setattr(sys, "argv", [str(tmp_path / program), "x"])
        assert environment()["command"] is None


def test_a_script_is_named_without_the_folders_of_this_machine(monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    script = tmp_path / "benchmarks" / "my script.py"
    script.touch()
    monkeypatch.setattr(sys, "argv", [str(script), "--rounds", "3"])
    monkeypatch.chdir(tmp_path)
    assert environment()["command"] == "python 'benchmarks/my script.py' --rounds 3"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert environment()["command"] == "python 'my script.py' --rounds 3"


def test_commit():
    commit = environment()["commit"]
    assert commit is None or re.fullmatch("[0-9a-f]{40}( with changes)?", commit)


def repository_of_a_user(folder):
    """Make a repository in which leannet is installed below .venv, which git ignores."""
    package = folder / ".venv" / "leannet" / "training"
    package.mkdir(parents=True)
    (folder / ".gitignore").write_text(".venv\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "mine"]):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *command],
            cwd=folder,
            check=True,
        )
    return package


def test_no_repository_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(MODULE, "__file__", str(tmp_path / "environment.py"))
    assert environment()["commit"] is None


def test_commit_of_a_users_repository_is_not_ours(tmp_path, monkeypatch):
    package = repository_of_a_user(tmp_path)
    monkeypatch.setattr(MODULE, "__file__", str(package / "environment.py"))
    assert environment()["commit"] is None
