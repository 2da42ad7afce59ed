"""Commands on what the service knows: kept safe, taken away, erased."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from annotriage.cli.options import (
    PATH,
    config_option,
    examples,
    print_json,
    progress_bars,
    project_option,
    service_process,
    service_settings,
)

_file = click.argument("file", type=PATH)
_json = click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
_quiet = click.option("--quiet", is_flag=True, help="No progress bars.")


@click.command(epilog=examples("annotriage backup annotriage-2026-11-30.backup"))
@_file
@click.option("--replace", is_flag=True, help="Replace the file if it is there already.")
@_json
@_quiet
@config_option
def backup(file: Path, replace: bool, as_json: bool, quiet: bool, config: Path | None) -> None:
    """Write all that the service knows into FILE, as of one moment, while it runs: references and models too.

    FILE holds the service's secrets, and pictures; keep it like these.
    """
    from annotriage.store import Store
    from annotriage.store.backups import back_up

    store = Store(service_settings(config, {}).database, make=False)
    try:
        made = back_up(store, file, progress_bars(quiet), replace=replace)
    finally:
        store.close()
    if as_json:
        print_json(dataclasses.asdict(made))
        return
    click.echo(f"{made.file}: {made.projects:,} projects, {made.rows:,} rows, {made.bytes / 1e6:,.1f} MB; its checksum stands beside it.")
    click.echo(f"To put it back: stop annotriage serve, then annotriage restore {made.file}")


@click.command(epilog=examples("annotriage restore annotriage-2026-11-30.backup"))
@_file
@click.option("--force", is_flag=True, help="Give up the projects that the database holds now.")
@_json
@_quiet
@config_option
def restore(file: Path, force: bool, as_json: bool, quiet: bool, config: Path | None) -> None:
    """Put a backup into the database of the settings, SQLite or PostgreSQL, whichever it was taken of. Nothing may run on it.

    All of it is put back, or nothing is changed. What people did since in Label Studio is read again once the service starts.
    """
    from annotriage.store.backups import restore as run

    done = run(service_settings(config, {}).database, file, progress_bars(quiet), force=force)
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    for note in done.notes:
        click.echo(f"Note: {note}")
    click.echo(f"{done.projects:,} projects, {done.rows:,} rows are back. Next: annotriage serve; everybody signs in anew.")


@click.command(epilog=examples("annotriage export --project 3 --out labels.csv"))
@project_option
@click.option("--out", type=PATH, required=True, help="The file: .csv, .jsonl, or .parquet if pyarrow is installed.")
@click.option("--replace", is_flag=True, help="Replace the file if it is there already.")
@_json
@config_option
def export(project: str, out: Path, replace: bool, as_json: bool, config: Path | None) -> None:
    """Write every item's label into a file, and where it comes from: who or which model gave it, when, and what was guaranteed then."""
    from annotriage.report.tables import write_table
    from annotriage.service.readings.labels import COLUMNS, label_pages, row_of
    from annotriage.store.projects import project_of

    with service_process(config) as process:
        with process.store.reading() as connection:
            found = project_of(connection, project)
        count = write_table(out, COLUMNS, ([*map(row_of, page)] for page in label_pages(process.store, found)), replace=replace)
    if as_json:
        print_json({"file": str(out), "items": count})
        return
    click.echo(f"{out}: {count:,} items. What a column means: annotriage's docs/operations.md.")


COMMANDS = (backup, restore, export)
