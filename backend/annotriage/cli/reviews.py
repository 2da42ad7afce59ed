"""Commands on what people answered: renewing the guarantee, machine labels as annotations, and taking those back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.advice.state_words import accepted_sentence
from annotriage.cli.options import config_option, examples, print_json, progress_bars, project_option, service_process


@click.command(epilog=examples("annotriage recalibrate --project 3"))
@project_option
@click.option("--quiet", is_flag=True, help="No progress bars.")
@click.option("--json", "as_json", is_flag=True, help="Print the new reference as JSON.")
@config_option
def recalibrate(project: str, quiet: bool, as_json: bool, config: Path | None) -> None:
    """Make a new guarantee from what people answered on the sample: randomly chosen items that they labelled blind.

    The running service then judges every item under the new reference and lets it take over; it also lifts a stop by the alarm.
    """
    from annotriage.service.guarantee.recalibrating import recalibrate as run
    from annotriage.store.projects import project_of

    with service_process(config) as process:
        with process.store.reading() as connection:
            found = project_of(connection, project)
        reference = run(process, found, progress_bars(quiet))
    if as_json:
        print_json(reference.facts())
        return
    click.echo(f"Reference {reference.name} ({reference.version[:8]}): {guarantee_sentence(reference.guarantee)}")
    for sentence in reference.notes:
        click.echo(f"Note: {sentence}")
    click.echo("Next: annotriage serve judges every item under it and then lets it take over; annotriage status shows how far it is.")


@click.command(epilog=examples("annotriage accept --project 3"))
@project_option
@click.option("--list", "only_list", is_flag=True, help="Only show what was accepted so far.")
@click.option("--json", "as_json", is_flag=True, help="Print the batches as JSON.")
@config_option
def accept(project: str, only_list: bool, as_json: bool, config: Path | None) -> None:
    """Turn automatic labels into annotations now, for all items whose dataset has passed its probation.

    With accept = "annotate" the service does so by itself. Each batch can be undone.
    """
    from annotriage.service.delivery.accepting import Taken, accept_all, why_not
    from annotriage.store.acceptances import batches
    from annotriage.store.projects import project_of

    with service_process(config) as process:
        with process.store.reading() as connection:
            found = project_of(connection, project)
            obstacle = why_not(connection, found)
        taken = Taken(0, 0) if only_list or obstacle is not None else accept_all(process, found)
        with process.store.reading() as connection:
            rows = [asdict(row) for row in batches(connection, found.id)]
    if as_json:
        print_json({"accepted": taken.labels, "left": taken.left, "obstacle": obstacle, "batches": rows})
        return
    for row in rows:
        click.echo(f"Batch {row['id']}: {row['items']:,} items{', undone' if row['undone_at'] else ''}")
    if only_list and not rows:
        click.echo("No automatic label has become an annotation yet.")
    if obstacle is not None:
        click.echo(f"Nothing is accepted: {obstacle}.")
    elif not only_list:
        click.echo(accepted_sentence(taken.labels, taken.left))


@click.command(epilog=examples("annotriage undo --accept 12 --project 3"))
@project_option
@click.option("--accept", "batch", type=int, required=True, help="The batch of accepted labels to take back.")
@config_option
def undo(project: str, batch: int, config: Path | None) -> None:
    """Take back a batch of automatic labels that became annotations. What a person has changed since stays."""
    from annotriage.service.delivery.accepting import undo as take_back
    from annotriage.store.projects import project_of

    with service_process(config) as process:
        with process.store.reading() as connection:
            found = project_of(connection, project)
        count = take_back(process, found, batch)
    click.echo(f"{count:,} annotations of batch {batch} were deleted; their tasks are open again and are not accepted by themselves.")


COMMANDS: tuple[click.Command, ...] = (recalibrate, accept, undo)
