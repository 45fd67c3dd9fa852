"""``leannet bench``: how long networks take, beside each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leannet_cli.choices import plain_name
from leannet_runtime.errors import UserError
from leannet_runtime.files import new_folder

if TYPE_CHECKING:
    from leannet.report.bench import BenchRequest, BenchResults

__all__ = ["bench"]

EXIT_FAILURE = 1
BACKENDS = "eager,compile,onnxruntime,openvino,executorch"


def bench(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="timm name, torchvision/NAME or model folder.")
    ],
    reference: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="By whose time the others are divided; the first one by default."),
    ] = None,
    backends: Annotated[str, typer.Option(help=f"Some of {BACKENDS}, with commas.")] = "eager",
    threads: Annotated[
        str | None,
        typer.Option(metavar="N,...", help="Threads on the CPU; by default as many as can run at once."),
    ] = None,
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", "--batch-size", "-b", metavar="N,...", help="Images in a call.")
    ] = "1",
    img_size: Annotated[
        str | None,
        typer.Option(
            "--img-size", "--imgsz", metavar="N,...", help="Side of the image; each network's own by default."
        ),
    ] = None,
    num_classes: Annotated[int | None, typer.Option(min=1, help="Number of classes; the network's by default.")] = None,
    small_input: Annotated[
        bool | None,
        typer.Option("--small-input/--no-small-input", help="Total stride 8; by default below 64 pixels."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="Timed rounds for each table, at most; 100 by default, with --seconds what fits."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="For warming up and timing, all tables together; making the networks comes on top."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N, or cuda:0,cuda:1: each takes its share of a batch.")
    ] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    channels_last: Annotated[
        bool,
        typer.Option(
            "--channels-last/--no-channels-last", help="How weights and images lie in memory: eager and compile."
        ),
    ] = False,
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph/--no-cuda-graph", help="On a GPU, start all kernels together.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, images and the order in a round.")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print results.json instead of tables.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of this bench; runs/bench/NAME by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", callback=plain_name, help="NAME; that of the reference by default.")
    ] = None,
) -> None:
    """Time networks in turns, and say which are faster than a reference, with intervals.

    A model folder with exits is timed to its last exit.
    """
    thread_numbers = None if threads is None else _numbers(threads, "--threads")
    batches = _numbers(batch_sizes, "--batch-sizes")
    sizes = None if img_size is None else _numbers(img_size, "--img-size")
    chosen = tuple(dict.fromkeys(word.strip() for word in backends.split(",") if word.strip()))
    if not chosen:
        raise UserError(f"--backends {backends!r}", "it names none", f"Pass some of {BACKENDS}")

    from leannet.report.bench import BenchRequest

    request = BenchRequest(
        models=tuple(models),
        reference=reference,
        backends=chosen,
        threads=thread_numbers,
        batch_sizes=batches,
        img_sizes=sizes,
        num_classes=num_classes,
        small_input=small_input,
        rounds=rounds,
        seconds=seconds,
        device=device,
        dtype=dtype,
        channels_last=channels_last,
        cuda_graph=cuda_graph,
        seed=seed,
    )
    folder = output or _new_folder(name, reference or models[0])
    results = _run(request, folder)
    if json_output:
        typer.echo((folder / "results.json").read_text(encoding="utf-8"), nl=False)
    else:
        from leannet_cli.bench.tables import print_bench

        print_bench(results, folder)
    if results.failures:
        typer.echo(_failures(results), err=True)
        raise typer.Exit(EXIT_FAILURE)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    """Read "1,8"; each number once, in the order given."""
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"[1-9][0-9]{0,5}", word) for word in words):
        raise UserError(f"{option} {text}", "not whole numbers from 1 on, with commas", f"Pass {option} 1,8, say")
    return tuple(dict.fromkeys(map(int, words)))


def _new_folder(name: str | None, reference: str) -> Path:
    from leannet.models import is_model_folder
    from leannet.training import run_name

    own = run_name(Path(reference)) if is_model_folder(reference) else reference.replace("/", "-")
    return new_folder("bench", name or own)


def _run(request: BenchRequest, folder: Path) -> BenchResults:
    from leannet.report.bench import run_bench
    from leannet_cli.bench.progress import BenchProgress

    with BenchProgress() as progress:
        return run_bench(request, folder, progress)


def _failures(results: BenchResults) -> str:
    pairs = dict.fromkeys(f"{failure.network} in {failure.backend}" for failure in results.failures)
    return f"leannet: could not be timed: {', '.join(pairs)}."
