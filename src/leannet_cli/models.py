"""``leannet models``: the list of networks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = ["models"]


def models(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern with * and ?.")] = "",
    all_networks: Annotated[bool, typer.Option("--all", help="Search timm's and torchvision's names too.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List leannet's networks with paper, parameters and MACs at their default size."""
    import json

    from leannet.models import known_networks, leannet_networks
    from leannet_runtime import UserError

    own = _matching(leannet_networks(), pattern)
    others = [name for name in _matching(known_networks(), pattern) if name not in own] if all_networks else []
    if not own and not others:
        remedy = "Try a shorter part of the name" if all_networks else "Pass --all to search timm's and torchvision's"
        raise UserError(f"no network matches {pattern}", f"leannet has {len(leannet_networks())} networks", remedy)
    rows = [_describe(name) for name in own]
    if json_output:
        typer.echo(json.dumps([*rows, *({"name": name} for name in others)], indent=2))
        return
    _print(rows)
    for name in others:  # thousands of them: building each to count it would take an hour
        typer.echo(name)
    if rows:
        typer.echo("\nParameters with 1000 classes. Next: leannet profile " + rows[0]["name"])


def _matching(names: list[str], pattern: str) -> list[str]:
    from fnmatch import fnmatch

    wildcard = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    return [name for name in names if fnmatch(name, wildcard)]


def _describe(name: str) -> dict[str, Any]:
    import torch

    from leannet.measure import count_macs, count_parameters
    from leannet.models import create_network, default_img_size
    from leannet.papers import papers

    size = default_img_size(name)
    model = create_network(name)
    paper = next((p for p in papers() if any(f.network == name for f in (*p.figures, *p.computed))), None)
    return {
        "name": name,
        "paper": paper.identifier if paper else None,
        "title": paper.title if paper else None,
        "parameters": count_parameters(model),
        "macs": count_macs(model, torch.zeros(1, 3, size, size)).total,
        "img_size": size,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from leannet_cli.console import make_console
    from leannet_cli.numbers import count_text

    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("network", "paper"):
        table.add_column(heading, no_wrap=True)
    for heading in ("params", "MACs", "at"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            row["paper"] or "",
            count_text(row["parameters"]),
            count_text(row["macs"]),
            f"{row['img_size']} px",
        )
    make_console().print(table)
