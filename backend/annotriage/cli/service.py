"""Commands on the running service and the projects that it works with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotriage.cli.options import (
    PATH,
    config_file,
    config_option,
    examples,
    print_json,
    project_option,
    said_once,
    service_options,
    service_process,
    service_settings,
)

if TYPE_CHECKING:
    from annotriage.service.operations.connecting import Change

MARKS = {True: "ok   ", False: "WRONG", None: "note "}


@click.command(epilog=examples("annotriage serve --config annotriage.toml"))
@service_options
def serve(config: Path | None, **options: Any) -> None:
    """Run the service until Ctrl-C: the dashboard, what Label Studio calls, the API, the worker that judges and delivers."""
    from annotriage.service.operations.serve import serve as run
    from annotriage.web.app import create_server

    status = run(service_settings(config, options), create_server, lambda text: click.echo(text, err=True), config_file(config))
    click.get_current_context().exit(status)


@click.command(
    epilog=examples(
        "annotriage connect --project 3 --reference reference --dry-run", "annotriage connect --project 3 --reference reference"
    )
)
@project_option
@click.option("--reference", "reference_path", type=PATH, required=True, help="Folder of the reference; its model must be in place.")
@click.option("--dry-run", is_flag=True, help="Only say what would change and how many tasks would be judged.")
@click.option("--watch", is_flag=True, help="Judge, but write nothing into the project: annotriage status shows what would be.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@service_options
def connect(project: str, reference_path: Path, dry_run: bool, watch: bool, as_json: bool, config: Path | None, **options: Any) -> None:
    """Set up a project for triage; annotriage serve must be running. Run again, it repairs it, or lets another reference take over."""
    from annotriage.engine.reference import Reference
    from annotriage.service.operations.connecting import connect as run

    reference = Reference.load(reference_path)
    with service_process(config, options) as process:
        change = run(process, project, reference, watch=watch, dry_run=dry_run)
    _print_change(change, as_json)


@click.command(epilog=examples("annotriage disconnect --project 3"))
@project_option
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@config_option
def disconnect(project: str, as_json: bool, config: Path | None) -> None:
    """Take back all that annotriage set up and wrote in a project, and forget it. People's annotations stay."""
    from annotriage.service.operations.connecting import disconnect as run

    with service_process(config) as process:
        change = run(process, project)
    _print_change(change, as_json)


@click.command(epilog=examples('annotriage pause --project 3 --reason "the new scanner is being adjusted"'))
@project_option
@click.option("--reason", default="", help="Why; shown wherever the project is.")
@config_option
def pause(project: str, reason: str, config: Path | None) -> None:
    """Stop automatic labels at once: what comes in goes to people, nothing is accepted."""
    from annotriage.service.guarantee.pausing import pause as run
    from annotriage.store.projects import project_of

    with service_process(config) as process, process.store.writing() as connection:
        done = run(connection, project_of(connection, project), reason)
    click.echo(done)


@click.command(epilog=examples("annotriage resume --project 3"))
@project_option
@config_option
def resume(project: str, config: Path | None) -> None:
    """Let labels be automatic again. What the alarm stopped goes on by second answers or annotriage recalibrate, as status says."""
    from annotriage.service.guarantee.pausing import resume as run
    from annotriage.store.projects import project_of

    with service_process(config) as process, process.store.writing() as connection:
        done = run(connection, project_of(connection, project))
    click.echo(done)


@click.command(epilog=examples("annotriage password"))
@config_option
def password(config: Path | None) -> None:
    """Show the password of the service's own interfaces; it is made at the first start unless the settings have one."""
    from annotriage.store import Store
    from annotriage.store.secrets import secret_of

    settings = service_settings(config, {})
    if settings.password:
        click.echo(settings.password)
        return
    store = Store(settings.database, make=False)
    click.echo(secret_of(store, "password"))
    store.close()


@click.command(epilog=examples("annotriage status", "annotriage status --project 3 --json"))
@click.option("--project", help="Only this project.  [all]")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@config_option
def status(project: str | None, as_json: bool, config: Path | None) -> None:
    """How the connected projects stand: what is judged, what waits for people, what is under way or stopped."""
    from annotriage.service.readings.overview import in_words
    from annotriage.service.readings.project import project_detail
    from annotriage.store import work
    from annotriage.store.projects import project_of, projects

    with service_process(config) as process, process.store.reading() as connection:
        chosen = projects(connection, gone=True) if project is None else [project_of(connection, project)]
        found = [project_detail(connection, process, project_row) for project_row in chosen]
        trouble = work.trouble(work.living(connection))
    if as_json:
        print_json([dataclasses.asdict(detail) for detail in found])
        return
    if trouble:
        click.echo(f"The running service cannot use the labeling tool: {trouble}")
    once = said_once()
    for detail in found:
        click.echo("\n".join(once(line) for line in in_words(detail)))
    if not found:
        click.echo("No project is connected; annotriage connect --project NUMBER --reference DIR does that.")


@click.command(epilog=examples("annotriage doctor"))
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@config_option
def doctor(as_json: bool, config: Path | None) -> None:
    """What is wrong with this set-up, line by line, each with what to change. Exits with 1 if anything is wrong."""
    from annotriage.service.operations.doctor import examine

    found = []
    part = ""
    once = said_once()
    for of, check in examine(lambda: service_settings(config, {}), config_file(config)):
        found.append({"part": of, **dataclasses.asdict(check)})
        if as_json:
            continue
        if of != part:
            part = of
            click.echo("The service" if of == "service" else f"\nProject {of}")
        click.echo(f"  {MARKS[check.ok]}  {check.name}: {once(check.found)}")
        if check.ok is not True and check.fix:
            click.echo(f"         {once(check.fix)}")
    wrong = sum(line["ok"] is False for line in found)
    if as_json:
        print_json(found)
    else:
        click.echo("\nAll is well." if not wrong else f"\n{wrong} of {len(found)} things are wrong.")
    click.get_current_context().exit(int(wrong > 0))


def _print_change(change: Change, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(change))
        return
    for sentence in (*change.done, *change.next):
        click.echo(sentence)
    if change.dry_run:
        click.echo("Nothing was changed; leave out --dry-run to do it.")


COMMANDS = (serve, connect, disconnect, pause, resume, password, status, doctor)
