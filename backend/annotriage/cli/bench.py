"""The command that says how fast triage is: bench."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from annotriage.cli.options import (
    PATH,
    Run,
    config_file,
    examples,
    labeling_config_option,
    model_option,
    print_json,
    progress_bars,
    reads_data,
    service_process,
)

if TYPE_CHECKING:
    from annotriage.report.bench import Bench


def _bench_data(run: Run, items: int, seconds: float) -> None:
    """`bench` with --reference and --data."""
    from annotriage.report.bench import bench as run_bench

    _print(run_bench(run.reference, run.data, items=items, seconds=seconds, **run.how), run.as_json)


WITH_PROJECT = ("project", "items", "seconds", "config", "quiet", "as_json")  # all that counts with --project

_of_data = reads_data(_bench_data)


@click.command(
    "bench",
    epilog=examples(
        "annotriage bench --reference reference --data images/new",
        "annotriage bench --reference reference --data images/new --items 5000 --batch-size 64 --map none --json",
        "annotriage bench --project 3",
    ),
)
@click.option("--reference", "reference_path", type=PATH, help="Folder of the reference.")
@click.option("--data", help="DATA to try on: its first items are triaged, and the results thrown away.")
@click.option("--project", help="In place of both: a connected project's id in the labeling tool; its last tasks are tried.")
@click.option("--items", type=click.IntRange(1), default=1_000, show_default=True, help="Read no more items than these.")
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="Read no further after so long.")
@model_option
@labeling_config_option
@functools.wraps(_of_data, assigned=())  # its options, not its help
def bench(reference_path: Path | None, data: str | None, project: str | None, items: int, seconds: float, **options: Any) -> None:
    """Where the time of triage goes with your own model and data, how near the model's own speed it comes, and which setting to change.

    Every figure is measured on this machine in the same run as `annotriage triage`; nothing is kept. With --project the worker's own steps
    are taken with the last tasks of a connected project, its verdicts are written and taken back, and what the service has recorded of
    waiting is told too; settings of the run, --model and --labeling-config are then those of the service, and cannot be given.
    """
    if project is None:
        if reference_path is None or data is None:
            raise click.UsageError("Give --reference and --data, or --project.")
        _of_data(reference_path=reference_path, data=data, items=items, seconds=seconds, **options)
        return
    if reference_path is not None or data is not None:
        raise click.UsageError("--project is given in place of --reference and --data: the project has its own.")
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name not in WITH_PROJECT:
            raise click.UsageError(
                f"{option.opts[0]} does nothing with --project, which is tried with the settings of the service; leave it out."
            )
    from annotriage.service.judging.speed import bench_project

    with service_process(config_file(options["config"])) as process:
        found = bench_project(process, project, items=items, seconds=seconds, progress=progress_bars(options["quiet"]))
    _print(found, options["as_json"])


def _print(found: Bench, as_json: bool) -> None:
    from annotriage.report.bench import bench_text

    if as_json:
        print_json(found.summary())
        return
    click.echo(bench_text(found))


COMMANDS = (bench,)
