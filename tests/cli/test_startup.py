"""The first thing that a user types: help, version, a slip. None of it may wait for torch."""

import re
import subprocess
import sys
from importlib import import_module

import pytest
import typer
from command_line import leannet, refusal

main_module = import_module("leannet_cli.main")

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
        (["compere"], "compere: there is no such verb. Did you mean 'compare'? `leannet --help` lists the verbs."),
        (["zzz"], "zzz: there is no such verb. `leannet --help` lists the verbs."),
        (["--nope"], "--nope: there is no such option. `leannet --help` lists the verbs."),
        (["compare", "--epoch", "3"], "--epoch: there is no such option. Did you mean --epochs or "),
        (
            ["compare", "--epochs", "many"],
            "--epochs many: it should be a valid integer. `leannet compare --help` tells ",
        ),
        (["compare", "--epochs", "2.5"], "--epochs 2.5: it should be a valid integer. `leannet compare "),
        (["compare", "--epochs", "2\n or 3"], "--epochs '2 or 3': it should be a valid integer. "),
        (
            ["compare", "--workers", "0"],
            "--workers 0: it should be greater than or equal to 1. `leannet compare --help` ",
        ),
        (["bench", "sm_v2", "--rounds"], "--rounds: it requires an argument. `leannet bench --help` tells "),
        (["models", "--json=1"], "--json: it does not take a value. `leannet models --help` tells what it takes."),
        (
            ["models", "a", "b"],
            "cannot run models: got unexpected extra argument(s) (b). `leannet models --help` tells ",
        ),
        (["profile"], "cannot run profile: NAME... is missing. `leannet profile --help` tells what it takes."),
        (["profile", "sm_v2", "--imgsz", "0"], "--img-size 0: it should be greater than or equal to 1. "),
    ],
)
def test_wrong_usage_is_one_line_before_anything_slow(arguments, words):
    code, out, said, imported = run(*arguments)
    assert (code, out) == (2, "")
    assert said.startswith(f"leannet: {words}")
    assert len(said.splitlines()) == 1
    assert said.endswith(".")
    assert not imported & SLOW_TO_IMPORT


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bench", "sm_v2", "--rounds"], ["--rounds: ", "argument"]),
        (["bench", "sm_v2", "--rounds", "0"], ["--rounds", "0", "1"]),
        (["bench", "sm_v2", "--rounds", "abc"], ["--rounds", "abc", "integer"]),
        (["bench"], ["MODEL...", "missing"]),
    ],
)
def test_wrong_usage_where_click_words_it(arguments, words, monkeypatch):
    """Older releases of typer use click itself, whose messages repeat the value."""
    click = pytest.importorskip("click")

    def refuse(*_, **__):
        context = click.Context(click.Command("bench"), info_name="bench", parent=click.Context(click.Group("leannet")))
        rounds = click.Option(["--rounds"], type=click.IntRange(1))
        models = click.Argument(["models"], metavar="MODEL...", nargs=-1, required=True)
        command = click.Command("bench", params=[models, rounds])
        command.parse_args(context, arguments[1:])

    monkeypatch.setattr(main_module, "UsageError", click.UsageError)
    monkeypatch.setattr(main_module.typer, "BadParameter", click.BadParameter)
    monkeypatch.setattr(main_module, "app", refuse)
    said = refusal(*arguments)
    assert all(word in said for word in words), said


def test_what_typer_aborts_ends_as_it_did(monkeypatch):
    def abort(*_, **__):
        raise typer.Abort

    monkeypatch.setattr(main_module, "app", abort)
    answer = leannet("models")
    assert (answer.code, answer.err) == (1, "Aborted!\n")


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
