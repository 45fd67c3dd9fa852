"""The first thing that a user types: help, version, a slip. None of it may wait for torch."""

import re
import subprocess
import sys

import pytest

VERBS = (
    "models",
    "profile",
    "bench",
    "compare",
    "train",
    "search-alpha",
    "evaluate",
    "calibrate",
    "export",
    "predict",
    "serve",
    "report",
    "reproduce",
)
SLOW_TO_IMPORT = {"torch", "torchvision", "timm", "rich", "numpy", "PIL", "sklearn", "datasets", "accelerate"}
START = "import sys; from leannet_cli.main import main; sys.argv[0] = 'leannet'; main()"


def run(*arguments):
    command = [sys.executable, "-X", "importtime", "-c", START, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    imports = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    names = {line.rpartition("|")[2].strip() for line in imports}
    said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("import time:"))
    assert "leannet_cli.main" in names  # the witness sees what is imported
    return done.returncode, done.stdout, said, {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)])
def test_help_and_version_do_not_import_torch(arguments):
    code, out, said, imported = run(*arguments)
    assert (code, said) == (0, "")
    assert not imported & SLOW_TO_IMPORT
    assert out


def test_help_lists_the_verbs():
    _, out, _, _ = run("--help")
    listed = re.findall(r"^  ([\w-]+) ", out.partition("Commands:")[2], flags=re.MULTILINE)
    assert tuple(listed) == VERBS


def test_version_is_that_of_the_package():
    from leannet_runtime.version import __version__

    assert run("--version")[1] == f"leannet {__version__}\n"


def test_without_arguments_help_is_shown():
    code, out, said, imported = run()
    assert code == 2
    assert all(verb in out + said for verb in VERBS)
    assert not imported & SLOW_TO_IMPORT


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compere"], ["No such command 'compere'"]),
        (["compare", "--epoch", "3"], ["No such option: --epoch", "--epochs"]),
        (["compare", "--epochs", "many"], ["--epochs", "integer"]),
        (["compare", "--epochs", "2.5"], ["--epochs", "integer"]),
        (["compare", "--workers", "0"], ["--workers", "1"]),
        (["profile"], ["Missing argument 'NAME"]),
        (["profile", "sm_v2", "--img-size", "0"], ["--img-size", "1"]),
    ],
)
def test_wrong_usage_is_refused_before_anything_slow(arguments, words):
    code, out, said, imported = run(*arguments)
    assert (code, out) == (2, "")
    assert all(word in said.splitlines()[-1] for word in words), said
    assert "Traceback" not in said
    assert not imported & SLOW_TO_IMPORT


def test_help_of_recipe_options_is_the_docstring_of_the_field():
    _, out, _, _ = run("compare", "--help")
    flowing = " ".join(out.split())
    for sentence in (
        "How often training goes through the images.",
        "Images per step and process.",
        "Peak learning rate.",
        "Alpha of mixup; 0 is off.",
    ):
        assert sentence in flowing
