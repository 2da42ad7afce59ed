"""Commands on what the service knows: kept safe, taken away, erased."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
from annotriage.states import Role

if TYPE_CHECKING:
    from annotriage.settings import ServiceSettings
    from annotriage.store import Store

COMMAND_LINE = "the command line"  # in the log of who did what

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
    """Write all that the service knows into FILE while it runs, as of one moment, with references and models.

    FILE holds the service's secrets and pictures: keep it as safe as those.
    """
    from annotriage.store.backups import back_up

    with _open_store(config) as (store, _):
        made = back_up(store, file, progress_bars(quiet), replace=replace)
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
    """Put a backup into the database of the settings, SQLite or PostgreSQL, whichever it was taken from. Nothing may run on it.

    All of it is put back, or nothing is changed. What people did since in Label Studio is read again once the service starts.
    """
    from annotriage.store.backups import restore as run

    done = run(service_settings(config, {}).database, file, progress_bars(quiet), force=force)
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    for note in done.notes:
        click.echo(f"Note: {note}")
    click.echo(f"{done.projects:,} projects, {done.rows:,} rows are back. Next: annotriage serve; everybody must sign in again.")


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


@click.command(epilog=examples("annotriage erase --project 3 --item 4711 --item 4712"))
@project_option
@click.option("--item", "items", multiple=True, required=True, help="The task's id, or the id it was pushed with; may be given often.")
@_json
@config_option
def erase(project: str, items: tuple[str, ...], as_json: bool, config: Path | None) -> None:
    """Erase all that is known about items here. This cannot be undone; it says what is left elsewhere.

    The history keeps that something was erased, but not what.
    """
    from annotriage.advice.numbers import count
    from annotriage.service.operations.erasing import erase as run
    from annotriage.store.projects import project_of

    with service_process(config) as process:
        with process.store.reading() as connection:
            found = project_of(connection, project)
        done = run(process, found, items, COMMAND_LINE)
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    click.echo(f"{count(done.erased, 'item')} erased.")
    if done.unknown:
        click.echo(f"Not known here: {', '.join(done.unknown)}")
    for sentence in done.remains:
        click.echo(sentence)


@click.group(
    cls=click.Group,
    invoke_without_command=True,
    epilog=examples(
        "annotriage people --project 3",
        "annotriage people --project 3 --gold known.csv",
        "annotriage people add ann --role decide",
        "annotriage people list",
    ),
)
@click.option("--project", help="Show how well people answer in this project.")
@click.option("--gold", type=PATH, help="With --project: CSV of known answers (task,label) to keep and ask blind.")
@click.option(
    "--ground-truths", type=click.IntRange(1, 1000), help="With --project: set so many answers aside that are marked as ground truth."
)
@click.option("--take-gold-out", is_flag=True, help="With --project: delete answered gold tasks from the labeling tool.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@config_option
@click.pass_context
def people(
    context: click.Context,
    project: str | None,
    gold: Path | None,
    ground_truths: int | None,
    take_gold_out: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """How well people answer in a project; and accounts: who may look, decide or administer, and who did what.

    With --project: how often they are wrong where the answer is known, how far they agree, what sways them, and the model beside what they
    answer blind. The commands are about accounts; the service's own user may do everything.
    """
    if context.invoked_subcommand is not None:
        if project is not None:
            raise click.UsageError("--project goes without a command: annotriage people --project 3")
        return
    if project is None:
        raise click.UsageError("give --project to see how well people answer, or one of the commands: add, list, log, remove")
    from annotriage.cli.people import print_people

    print_people(project, gold, ground_truths, take_gold_out, as_json, config)


@people.command("add", epilog=examples("annotriage people add ann --role decide"))
@click.argument("name")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), default=Role.LOOK.value, show_default=True, help="What NAME may do."
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; else one is made and shown once.")
@click.option("--no-password", is_flag=True, help="A proxy in front signs this person in (setting trusted_proxy).")
@config_option
def add_person(name: str, role: str, password_stdin: bool, no_password: bool, config: Path | None) -> None:
    """Give NAME an account, or change its role and password."""
    import secrets

    from annotriage.store.people import set_person, write_deed

    if password_stdin and no_password:
        raise click.UsageError("--password-stdin and --no-password exclude each other")
    password: str | None = None
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif not no_password:
        password = secrets.token_urlsafe(12)
    with _open_store(config) as opened:
        store, settings = opened
        with store.writing() as connection:
            set_person(connection, name, Role(role), password, service_user=settings.user)
            write_deed(connection, COMMAND_LINE, "set account", f"{name}: {role}")
    click.echo(f"{name} may {role}.")
    if password is not None and not password_stdin:
        click.echo(f"Password, shown this once: {password}")


@people.command("remove", epilog=examples("annotriage people remove ann"))
@click.argument("name")
@config_option
def remove_person(name: str, config: Path | None) -> None:
    """Take NAME's account away; what NAME did stays in the log."""
    from annotriage.store.people import remove_person as remove
    from annotriage.store.people import write_deed

    with _open_store(config) as (store, _), store.writing() as connection:
        remove(connection, name)
        write_deed(connection, COMMAND_LINE, "remove account", name)
    click.echo(f"{name} has no account any more.")


@people.command("list", epilog=examples("annotriage people list --json"))
@_json
@config_option
def list_people(as_json: bool, config: Path | None) -> None:
    """Who has an account, and what each may do."""
    from annotriage.store.people import people as everybody

    with _open_store(config) as (store, settings), store.reading() as connection:
        found = everybody(connection)
    if as_json:
        print_json([dataclasses.asdict(row) for row in found])
        return
    click.echo(f"{settings.user}: administer, the service's own user")
    for row in found:
        click.echo(f"{row.name}: {row.role}{'' if row.signs_in else ', signed in by the proxy'}")


@people.command("log", epilog=examples("annotriage people log --out deeds.csv"))
@click.option("--out", type=PATH, required=True, help="The file: .csv, .jsonl, or .parquet if pyarrow is installed.")
@click.option("--replace", is_flag=True, help="Replace the file if it is there already.")
@config_option
def log_people(out: Path, replace: bool, config: Path | None) -> None:
    """Write who did what into a file, the latest first."""
    from annotriage.report.tables import write_table
    from annotriage.service.readings.deeds import COLUMNS, deed_pages

    with _open_store(config) as (store, _):
        count = write_table(out, COLUMNS, deed_pages(store), replace=replace)
    click.echo(f"{out}: {count:,} lines")


@contextmanager
def _open_store(config: Path | None) -> Iterator[tuple[Store, ServiceSettings]]:
    """The service's database, which must be there, and its settings."""
    from annotriage.store import Store

    settings = service_settings(config, {})
    store = Store(settings.database, make=False)
    try:
        yield store, settings
    finally:
        store.close()


COMMANDS = (backup, restore, export, erase, people)
