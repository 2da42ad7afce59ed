"""The command that says how fast triage is: bench."""

from __future__ import annotations

import click

from annotriage.cli.options import Run, examples, labeling_config_option, model_option, print_json, reads_data, reference_option


@click.command(
    epilog=examples(
        "annotriage bench --reference reference --data images/new",
        "annotriage bench --reference reference --data images/new --items 5000 --batch-size 64 --map none --json",
    )
)
@reference_option
@click.option("--data", required=True, help="DATA to try on: its first items are triaged, and the results thrown away.")
@click.option("--items", type=click.IntRange(1), default=1_000, show_default=True, help="Read no more items than these.")
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="Read no further after so long.")
@model_option
@labeling_config_option
@reads_data
def bench(run: Run, items: int, seconds: float) -> None:
    """Where the time of triage goes with your own model and data, how near the model's own speed it comes, and which setting to change.

    Every figure is measured on this machine in the same run as `annotriage triage`; nothing is kept.
    """
    from annotriage.report.bench import bench as run_bench
    from annotriage.report.bench import bench_text

    found = run_bench(run.reference, run.data, items=items, seconds=seconds, **run.how)
    if run.as_json:
        print_json(found.summary())
        return
    click.echo(bench_text(found))


COMMANDS = (bench,)
