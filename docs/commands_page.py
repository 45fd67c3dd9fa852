"""Writes the page of all commands from the command line itself, whenever the site is built; nothing of it is kept.

A hook of mkdocs (see `hooks` in mkdocs.yml).
"""

from __future__ import annotations

import re
from typing import Any

import typer

from leannet_cli.main import app

PAGE = "commands.md"
HEAD = (
    "# All commands\n\nMade from the command line itself when this site was built: what `leannet --help` and "
    "`leannet VERB --help` say.\n\nExit codes: 0; 1 a failure; 2 wrong usage or input, said in one line; 3 a check did "
    "not pass (a file that answers otherwise, `--min-acc`); 130 interrupted."
)


def on_files(files: Any, config: Any) -> Any:
    """Add the page to the files of the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=commands_page()))
    return files


def commands_page() -> str:
    """Return the page in Markdown: a part for each verb, with its arguments and options."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="leannet")
    parts = [HEAD]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if not command.hidden:
            parts += _verb(name, command, typer.Context(command, parent=context, info_name=name))
    return "\n\n".join(parts) + "\n"


def _verb(name: str, command: Any, context: Any) -> list[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    rows = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    table = "\n".join(["| | |", "|---|---|", *(f"| `{what}` | {_cell(text)} |" for what, text in rows)])
    help_text = _cell(command.help or "").replace("\f", "\n\n")
    return [f"## {name}", help_text, f"```text\nleannet {name} {usage}\n```", table]


def _cell(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([|*_<>\[\]`])", r"\\\1", re.sub(r"\n(?!\n)", " ", text))
