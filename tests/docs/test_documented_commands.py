"""Every command in the documents is one that exists, and those marked so are run."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from leannet_cli.main import _with_value, app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(<!-- run -->\n)?^[ ]*```(bash|python)\n(.*?)^[ ]*```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of a page: its language, its text, and whether it is to be run."""

    page: str
    number: int
    language: str
    text: str
    run: bool


def blocks():
    for page in PAGES:
        for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8"))):
            yield Block(str(page.relative_to(ROOT)), number, match[2], match[3], bool(match[1]))


BLOCKS = list(blocks())
MARKED = [block for block in BLOCKS if block.run]
RUN = {page: [block for block in MARKED if block.page == page] for page in {block.page for block in MARKED}}


def commands(text):
    """Return the arguments of each call of leannet in a script, without comments and what the shell does with them."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for number, word in enumerate(words):
            if word.rpartition("/")[2] == "leannet" or words[number : number + 2] == ["-m", "leannet_cli"]:
                begin = number + (1 if word != "-m" else 2)
                if "install" not in words[:number] or "&&" in words[:number]:
                    end = next((n for n in range(begin, len(words)) if words[n] in ("&&", "|", ";", ">", "&")), None)
                    found.append(words[begin:end])
    return found


def parse(arguments):
    """Let the command line read a command without running it."""
    name, *rest = _with_value(list(arguments))
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="leannet")
    if name in {option for each in group.get_params(context) for option in each.opts}:
        return
    command = group.get_command(context, name)
    assert command is not None, f"there is no verb {name}"
    command.make_context(name, rest, parent=context)


DOCUMENTED = [
    pytest.param(arguments, id=f"{block.page}-{block.number}-{' '.join(arguments)[:40]}")
    for block in BLOCKS
    if block.language == "bash"
    for arguments in commands(block.text)
    if not any("$" in word for word in arguments)  # of a script that decides itself what it starts
]


@pytest.mark.parametrize("arguments", DOCUMENTED)
def test_a_documented_command_is_one(arguments):
    parse(arguments)


def test_commands_are_found_in_all_their_forms():
    assert commands("leannet models x  # comment\n.venv/bin/leannet compare && leannet train \\\n  --resume") == [
        ["models", "x"],
        ["compare"],
        ["train", "--resume"],
    ]
    assert commands("torchrun --nproc-per-node 2 -m leannet_cli train sm_v2 --data photos") == [
        ["train", "sm_v2", "--data", "photos"]
    ]
    assert commands("pip install leannet") == []
    assert len(DOCUMENTED) > 50


WRONG = ("trian sm_v2", "train sm_v2 --epoch-count 3", "bench sm_v2 --rounds many", "predict x")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_command_that_does_not_exist_is_noticed(wrong):
    with pytest.raises((typer.BadParameter.__mro__[1], AssertionError)):
        parse(wrong.split())


@pytest.mark.parametrize("page", sorted(RUN))
def test_what_is_marked_runs(page, tmp_path):
    """The blocks of a page are run one after the other in one folder, as a reader would."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    for block in RUN[page]:
        command = ["bash", "-euc", block.text] if block.language == "bash" else [sys.executable, "-c", block.text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


def test_pages_to_be_run_are_there():
    assert {"docs/start.md", "docs/choose.md", "docs/shipping.md"} <= set(RUN)


def test_python_is_python():
    for block in BLOCKS:
        if block.language == "python":
            compile(textwrap.dedent(block.text), block.page, "exec")


def test_page_of_commands_has_every_verb_and_option():
    spec = importlib.util.spec_from_file_location("commands_page", ROOT / "docs" / "commands_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.commands_page()
    for name, command in typer.main.get_command(app).commands.items():
        if command.hidden:
            continue
        part = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else []:
                assert option in part, (name, option)
        assert command.help.split()[0] in part


def test_site_is_built_without_a_warning(tmp_path):
    """Links between pages are checked by mkdocs; no page may load anything from elsewhere."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) - 1  # of which the README is none
    loaded = r'<(script|img|iframe)[^>]*\ssrc="?(https?:)?//|<link[^>]*rel="?(stylesheet|preconnect)[^>]*"(https?:)?//'
    for page in pages:
        assert not re.search(loaded, page.read_text(encoding="utf-8")), page
