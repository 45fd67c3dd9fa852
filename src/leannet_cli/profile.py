"""``leannet profile``: what networks cost before they have seen any data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from leannet.measure import NetworkProfile

__all__ = ["profile"]


def profile(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="timm name, torchvision/NAME or model folder.")],
    num_classes: Annotated[int | None, typer.Option(min=1, help="Number of classes; 1000 by default.")] = None,
    img_size: Annotated[
        int | None,
        typer.Option("--img-size", "--imgsz", min=1, help="Side of the image; the network's own by default."),
    ] = None,
    small_input: Annotated[
        bool | None,
        typer.Option("--small-input/--no-small-input", help="Total stride 8; by default below 64 pixels."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Images on which to measure how far the gates are open; for model folders of such networks."),
    ] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Show every layer.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show parameters, MACs, activations and memory, with the published figures beside them.

    Of networks with exits, also what an image costs that leaves at each.
    """
    import json

    results = [_profile(name, num_classes, img_size, small_input, data) for name in names]
    if json_output:
        typer.echo(json.dumps([_as_json(result, per_layer) for result in results], indent=2))
    else:
        _print(results, per_layer)


def _profile(
    name: str, num_classes: int | None, img_size: int | None, small_input: bool | None, data: str | None
) -> dict[str, Any]:
    from leannet.measure import profile_network
    from leannet.models import create_network, default_img_size, is_model_folder
    from leannet_cli.profile_exits import measure_gates, profile_exits
    from leannet_runtime import UserError

    if data is not None and not is_model_folder(name):
        why = "gates that have not learned are open by chance"
        raise UserError(f"--data with {name}", why, "Give a model folder, or leave --data away")
    size = img_size or default_img_size(name)
    model = create_network(name, num_classes=num_classes, img_size=size, small_input=small_input)
    channels = int(getattr(model, "in_chans", 3))
    try:
        measured = profile_network(model, (channels, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name} cannot take images of {size} pixels", why, "Choose another --img-size") from error
    classes = int(getattr(model, "num_classes", num_classes or 1000))
    result = {"name": name, "img_size": size, "num_classes": classes, "profile": measured}
    gates = None if data is None else measure_gates(model, Path(name), data, size)
    own_name = str(getattr(model, "pretrained_cfg", {}).get("architecture", name))
    if exits := profile_exits(model, own_name, size, gates and gates["open"]):
        result["exits"] = exits
    if gates is not None:
        result["gates"] = gates
    return result


def _published(result: dict[str, Any], quantity: str, measured: float) -> list[dict[str, Any]]:
    """Return what papers print of this network at this size and number of classes, with the difference in percent."""
    from leannet.papers import difference_percent, published
    from leannet_cli.numbers import count_text

    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for figure in published(result["name"], quantity):
        fits = figure.num_classes in (None, result["num_classes"]) and figure.img_size in (None, result["img_size"])
        if not fits or figure.exit is not None:
            continue
        row = rows.setdefault(
            (figure.paper, figure.value),
            {
                "quantity": quantity,
                "printed": f"{figure.printed} {figure.unit}".strip() if figure.printed else count_text(figure.value),
                "value": figure.value,
                "status": figure.status,
                "paper": figure.paper,
                "tables": [],
                "difference_percent": round(difference_percent(measured, figure), 3),
            },
        )
        row["tables"].append(figure.table)
    return list(rows.values())


def _comparisons(result: dict[str, Any]) -> list[dict[str, Any]]:
    measured: NetworkProfile = result["profile"]
    return [
        *_published(result, "params", measured.parameters),
        *_published(result, "macs", measured.macs),
    ]


def _as_json(result: dict[str, Any], per_layer: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from leannet.measure import MACS_RULE

    fields = asdict(result["profile"])
    if not per_layer:
        del fields["layers"]
    return {
        **{key: value for key, value in result.items() if key != "profile"},
        **fields,
        "macs_rule": MACS_RULE,
        "published": _comparisons(result),
    }


def _print(results: list[dict[str, Any]], per_layer: bool) -> None:
    from rich.table import Table

    from leannet.measure import MACS_RULE
    from leannet_cli.console import make_console
    from leannet_cli.numbers import bytes_text, count_text
    from leannet_cli.profile_exits import print_exits

    console = make_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("network", no_wrap=True)
    for heading in ("px", "classes", "params", "MACs", "activations", "peak activations", "weights"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        measured: NetworkProfile = result["profile"]
        table.add_row(
            result["name"],
            str(result["img_size"]),
            str(result["num_classes"]),
            f"{measured.parameters:,}",
            count_text(measured.macs),
            count_text(measured.activations),
            bytes_text(measured.peak_activation_bytes),
            bytes_text(measured.weight_bytes),
        )
    console.print(table)
    for result in results:
        _print_published(console, result)
        if "exits" in result:
            print_exits(console, result["name"], result["exits"], result.get("gates"))
        if result["profile"].uncounted:
            console.print(f"{result['name']}: not counted: {', '.join(result['profile'].uncounted)}", style="yellow")
        if per_layer:
            _print_layers(console, result)
    console.print(f"\n{MACS_RULE}")
    console.print(
        "Activations are the outputs of convolutions and linear layers; peak activations are the bytes alive at once "
        "in a float32 forward pass of one image, without weights."
    )


def _print_published(console: Any, result: dict[str, Any]) -> None:
    for row in _comparisons(result):
        console.print(
            f"{result['name']}: {row['quantity']} {row['status']} {row['printed']} "
            f"({row['paper']}: {', '.join(row['tables'])}), ours {row['difference_percent']:+.2f} %"
        )


def _print_layers(console: Any, result: dict[str, Any]) -> None:
    from rich.table import Table

    from leannet_cli.numbers import count_text

    table = Table(box=None, pad_edge=False, header_style="bold", title=result["name"], title_justify="left")
    for heading in ("layer", "kind", "output"):
        table.add_column(heading, no_wrap=True)
    for heading in ("params", "MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in result["profile"].layers:
        shape = " x ".join(map(str, layer.output_shape[1:]))
        table.add_row(layer.name, layer.kind, shape, f"{layer.parameters:,}", count_text(layer.macs))
    console.print(table)
