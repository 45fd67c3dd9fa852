"""The two ways of a reproduction: a figure, or tables; each from records that are there, or run first."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path

import typer

from leannet.papers.reproduce import DRAWINGS, Drawing, begin_folder, find_drawing, reproduce_figure, write_reproduction
from leannet.papers.reproduce.page import write_page
from leannet.papers.reproduce.picture import draw_figure
from leannet.papers.tables import (
    Plan,
    find_tables,
    judge_claims,
    load_budget,
    load_experiment,
    make_plan,
    make_rows,
    read_evidence,
    run_timings,
    run_trainings,
    write_tables,
)
from leannet.papers.tables.evidence import check_state
from leannet.papers.tables.experiment import DEFAULT_DATA
from leannet.papers.tables.files import tables_page
from leannet.papers.tables.plan import about_text
from leannet.papers.tables.training import begin_without_data, read_state
from leannet.report.html import REPORT
from leannet.training import load_recipe
from leannet.training.runs import Stopped
from leannet_cli.bench.progress import BenchProgress
from leannet_cli.console import make_console
from leannet_cli.reproduce.paper_tables import print_tables
from leannet_cli.reproduce.progress import ReproduceProgress
from leannet_cli.reproduce.tables import print_reproduction
from leannet_runtime.errors import EXIT_INTERRUPTED, UserError
from leannet_runtime.files import make_folder, new_folder, runs_folder, write_text

__all__ = ["Request", "report_reproduction", "reproduce_paper_figure", "reproduce_tables"]


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    paper: str
    budget: str | None
    data: str | None
    plan: bool
    device: str
    workers: int | None
    records: Path | None
    output: Path | None

    def make_plan(self, tables: tuple[str, ...] | None = None) -> Plan:
        """Plan the trainings, of some tables or all: in the folder of the records, of the output, or of the budget."""
        budget = load_budget(self.budget or "smoke")
        folder = self.records or self.output or runs_folder("reproduce") / f"{self.paper}-{budget.name}"
        return make_plan(load_experiment(self.paper), budget, folder, tables)


def reproduce_paper_figure(request: Request, number: int | None) -> None:
    """Draw a figure from the records that are there; with a budget from those of the budget, which are run first.

    Raises:
        UserError: Data are named without a budget: nothing would be trained on them.
    """
    if request.data is not None and request.budget is None and not request.plan:
        why = "without a budget a figure is drawn from records that are there"
        raise UserError(f"--data {request.data}", why, "Pass --budget smoke, small or full to train on it")
    known = [drawing.number for drawing in DRAWINGS if drawing.paper == request.paper]
    drawing = find_drawing(request.paper, number or known[0])
    source = request.records or Path("results") / f"{drawing.paper}_{drawing.dataset}"
    command = ["leannet", "reproduce", request.paper, "--figure", str(drawing.number)]
    if request.budget is not None or request.plan:
        plan = request.make_plan()
        _run(request, plan, drawing.class_names)
        if request.plan:
            return
        source = plan.folder
        command += ["--budget", plan.budget.name]
        drawing = _at_budget(drawing, plan)
    reproduction = reproduce_figure(drawing, source)
    name = f"{drawing.paper}-figure-{drawing.number}"
    folder = new_folder("reproduce", name) if request.output is None else request.output
    if request.budget is not None and request.records is None:
        folder = source / f"figure-{drawing.number}"
    begin_folder(folder)
    # The records are named even where they are the default, and the output is not: it changes nothing.
    names = write_reproduction(reproduction, folder, shlex.join([*command, "--records", str(source)]))
    console = make_console()
    print_reproduction(console, reproduction)
    console.print(f"\nWritten to {folder}: {', '.join(names)}")


def reproduce_tables(request: Request, tables: tuple[str, ...], number: int | None) -> None:
    """Run what is missing for some tables of a paper, and put ours beside the print."""
    plan = request.make_plan(None if number is None else tables)
    _run(request, plan)
    if request.plan:
        return
    if request.records is None:
        for device in ("cpu", *(("cuda",) if request.device.startswith("cuda") else ())):
            _time(plan, tables, device)
    evidence = read_evidence(plan)
    rows = {table: make_rows(evidence, table) for table in tables}
    chosen = None if tables == find_tables(request.paper) else tables
    verdicts = judge_claims(evidence, chosen)
    command = ["leannet", "reproduce", request.paper, *(["--table", str(number)] if number else [])]
    command += ["--budget", plan.budget.name, "--records", str(plan.folder)]
    folder = plan.folder / ("tables" if number is None else f"table-{number}")
    if request.records is not None:
        folder = request.output or new_folder("reproduce", f"{request.paper}-{plan.budget.name}-tables")
    names = write_tables(evidence, rows, verdicts, folder, shlex.join(command))
    console = make_console()
    print_tables(console, evidence, rows, verdicts)
    console.print(f"\nWritten to {folder}: {', '.join(names)}")


def _time(plan: Plan, tables: tuple[str, ...], device: str) -> None:
    """Take the times that are missing."""
    with BenchProgress() as progress:
        try:
            run_timings(plan.experiment, plan.budget, plan.folder, progress, tables=tables, device=device)
        except KeyboardInterrupt:
            progress.close()
            typer.echo(
                f"leannet: interrupted while times were taken: trainings and complete times are kept in {plan.folder}. "
                "Run the same command again to go on.",
                err=True,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None


def report_reproduction(folder: Path, file: Path | None) -> Path:
    """Make the page of a reproduction again, from its records alone.

    Args:
        folder: Of the reproduction.
        file: The page; the one that ``leannet reproduce`` writes if not given.

    Returns:
        The page.

    Raises:
        UserError: A record is damaged or of another budget, or there is none yet.
    """
    state = read_state(folder)
    assert state is not None
    named = state["budget"].get("name") if isinstance(state["budget"], dict) else None
    plan = make_plan(load_experiment(str(state["paper"])), load_budget(str(named)), folder)
    command = shlex.join(["leannet", "report", str(folder)])
    tables = find_tables(plan.experiment.paper)
    if tables:
        evidence = read_evidence(plan)
        rows = {table: make_rows(evidence, table) for table in tables}
        page, place = tables_page(evidence, rows, judge_claims(evidence), command), "tables"
    else:
        check_state(plan)
        drawing = next(drawing for drawing in DRAWINGS if drawing.paper == plan.experiment.paper)
        reproduction = reproduce_figure(_at_budget(drawing, plan), folder)
        page, place = write_page(reproduction, draw_figure(reproduction), command), f"figure-{drawing.number}"
    file = file or folder / place / REPORT
    make_folder(file.parent)
    write_text(file, page)
    return file


def _at_budget(drawing: Drawing, plan: Plan) -> Drawing:
    """Return a figure whose trainings are held against the recipes as the budget cuts them, with all its seeds."""
    recipe = load_recipe(next(iter(drawing.recipes.values())))
    # The warm-up of all recipes of a figure is the same.
    changes = {name: value for name, value in plan.budget.changes(recipe).items() if name != "epochs"}
    return dataclasses.replace(drawing, changes=changes, seeds=plan.budget.seeds)


def _run(request: Request, plan: Plan, classes: frozenset[str] | None = None) -> None:
    """Say what is to do, and do it unless only the plan or only the records are wanted."""
    console = make_console(stderr=not request.plan)
    console.print(plan.sentence(records_only=request.records is not None))
    if request.plan:
        for step in plan.left:
            console.print(f"  {step.network}, seed {step.seed}: {about_text(step.seconds)}, into {step.folder}")
        return
    if request.records is not None:
        if check_state(plan) is None:
            why = "no reproduction was begun there" if plan.folder.is_dir() else "no such folder"
            remedy = "Name another by --records, or leave it away to run what is missing"
            raise UserError(f"no records in {plan.folder}", why, remedy)
        return
    if not plan.networks:
        begin_without_data(plan)
        return
    with ReproduceProgress() as progress:
        try:
            run_trainings(
                plan,
                request.data or DEFAULT_DATA,
                progress,
                device=request.device,
                workers=request.workers,
                classes=classes,
                progress=progress.reading,
            )
        except Stopped as stop:
            progress.close()
            done = len(plan.wanted) - len(plan.left)
            typer.echo(
                f"leannet: stopped: {done} of {len(plan.wanted)} trainings are finished and kept in {plan.folder}, and "
                "the one that was going on has a checkpoint. Run the same command again to go on.",
                err=True,
            )
            raise typer.Exit(128 + stop.signal_number) from None
