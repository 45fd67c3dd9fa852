"""What an export ends with."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Table

from leannet.deploy.export import Exported
from leannet_cli.console import make_console
from leannet_cli.numbers import bytes_text
from leannet_runtime.formats import FORMATS

__all__ = ["print_export", "snippet"]


def print_export(exported: Exported) -> None:
    """Print how far file and network are apart, what was allowed, and what to do with the file."""
    console = make_console()
    proof = exported.proof
    allowed = {name: share * proof.largest_logit for name, share in proof.bars.items() if name in ("logits", "batches")}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file against network", no_wrap=True)
    table.add_column("found", justify="right", no_wrap=True)
    table.add_column("allowed", justify="right", no_wrap=True)
    table.add_row("top-1 agreement", f"{proof.agreement:.2f} %", f"at least {proof.bars['agreement']:g} %")
    table.add_row("largest logit difference, same input", f"{proof.logit_difference:.2g}", f"{allowed['logits']:.2g}")
    table.add_row("a batch of 7 less 7 images alone", f"{proof.batch_difference:.2g}", f"{allowed['batches']:.2g}")
    if proof.pixel_levels is not None:
        levels = f"{proof.pixel_levels:g} of 255"
        table.add_row("largest pixel difference from pillow", levels, f"{proof.bars['pixel_levels']:g}")
        mean = f"{proof.mean_pixel_levels:.2g}"
        table.add_row("mean pixel difference from pillow", mean, f"{proof.bars['mean_pixel_levels']:g}")
        table.add_row("largest logit difference, end to end", f"{proof.end_to_end_difference:.2g}", "-")
    if proof.routes is not None:
        answers = sum(proof.routes.taken)
        table.add_row("answers from another exit, same input", f"{proof.routes.wrong:,} of {answers:,}", "0")
    console.print(table)
    console.print(
        f"\nCompared on {proof.images:,} images of {proof.data} ({', '.join(proof.parts)}) and {proof.odd_images} "
        f"pictures of odd sizes, in batches of 1, 2 and 7, with {proof.runtime}; largest logit "
        f"{proof.largest_logit:.3g}, undecided {proof.undecided}."
    )
    if proof.routes is not None:
        taken = ", ".join(f"{count:,}" for count in proof.routes.taken)
        console.print(
            f"Answers by exit: {taken}. Of {proof.routes.undecided:,} images rounding decides where they leave "
            f"({proof.routes.other:,} elsewhere than in PyTorch)."
        )
    if proof.at_gates:
        console.print(f"Not compared: the logits of {proof.at_gates:,} images, which have a gate at its edge.")
    for note in proof.notes:
        console.print(f"Note: {note}")
    path, weights = exported.path, exported.path.with_suffix(".bin")
    files = (path, weights) if exported.file_format == "openvino" else (path,)
    sizes = (f"{file} ({bytes_text(file.stat().st_size)})" for file in files)
    console.print(f"Written to {' and '.join(sizes)}")
    if exported.file_format != "onnx":
        example = FORMATS[exported.file_format].example.format(path=str(path))
        console.print(f"Next: {example}", markup=False)  # brackets are Python's here
        return
    if exported.description["preprocess"] == "outside":
        console.print("\nWithout leannet:\n")
        console.print(snippet(str(exported.path), exported.description))
    console.print(f"Next: leannet predict {exported.path} IMAGES")


def snippet(path: str, description: dict[str, Any]) -> str:
    """Return ten lines of Python that prepare an image as the network learned it, and ask the file.

    Args:
        path: The file, with the preprocessing outside.
        description: What it says of itself.
    """
    prepared = description["preprocessing"]
    side = prepared["input_size"][1]
    short = math.floor(side / prepared["crop_pct"])
    resampling = prepared["interpolation"].upper()
    return f"""\
import numpy as np, onnxruntime
from PIL import Image, ImageOps
image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
w, h = image.size
size = ({short}, int({short} * h / w)) if w <= h else (int({short} * w / h), {short})
x, y = (round((side - {side}) / 2) for side in size)
pixels = np.asarray(image.resize(size, Image.Resampling.{resampling}))[y : y + {side}, x : x + {side}]
images = (pixels / 255 - {prepared["mean"]}) / {prepared["std"]}
batch = images.transpose(2, 0, 1)[None].astype(np.float32)
logits, probabilities = onnxruntime.InferenceSession({path!r}).run(["logits", "probabilities"], {{"image": batch}})
"""
