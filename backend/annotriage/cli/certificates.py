"""Commands on finished datasets: how many automatic labels are wrong at most, as a signed file and as a page to print."""

from __future__ import annotations

import getpass
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from annotriage.advice import certificate_words as words
from annotriage.cli.options import PATH, config_option, examples, print_json, service_process
from annotriage.errors import DataError, OutputError


@click.command(
    epilog=examples(
        "annotriage certify --project 3 --dataset scanner=B",
        "annotriage certify --project 3 --dataset scanner=B --wanted 8 --out certificate.json --html certificate.html",
        "annotriage certify --verify certificate.json --key certificates.pem",
    )
)
@click.option("--project", help="The project's id in the labeling tool.")
@click.option("--dataset", help="The dataset: its name (scanner=B), the value of its field (B), or its number; all for everything.")
@click.option("--until", help="Only items that came in until this day (2026-11-26) or moment (2026-11-26T12:00:00Z).  [now]")
@click.option(
    "--wanted",
    type=click.IntRange(min=0),
    help="Draw enough checks to show that at most this many labels are wrong, if all checks are right.",
)
@click.option(
    "--anew", is_flag=True, help="Fix the labels anew, with what came in since; else the latest certificate is shown as it stands."
)
@click.option("--by", help="Who makes it, as the certificate says.  [the user of this machine]")
@click.option("--out", type=PATH, help="Write the signed certificate (JSON) to this file.")
@click.option("--html", type=PATH, help="Write a page to print to this file.")
@click.option(
    "--verify", type=PATH, help="Check a signed certificate; needs --key, or the service's database. Exits with 1 if it was changed."
)
@click.option("--key", type=PATH, help="The public key (PEM) to check it with.  [the service's own]")
@click.option("--export-key", type=PATH, help="Write the service's public key (PEM) to this file, for those who check certificates.")
@click.option("--json", "as_json", is_flag=True, help="Print the signed certificate as JSON.")
@config_option
def certify(
    project: str | None,
    dataset: str | None,
    until: str | None,
    wanted: int | None,
    anew: bool,
    by: str | None,
    out: Path | None,
    html: Path | None,
    verify: Path | None,
    key: Path | None,
    export_key: Path | None,
    as_json: bool,
    config: Path | None,
) -> None:
    """How many automatic labels of a finished dataset are wrong at most, strange items included, by labels that people checked blind.

    The labels and the checks are fixed the first time, and checks that are lacking wait in the tab Spot checks; asked for again it says
    how it stands. Open answers count as wrong, so the number falls as people answer.
    """
    if verify is not None:
        _verify(verify, key, config, as_json)
        return
    if export_key is not None:
        _export(export_key, config)
        return
    if project is None or dataset is None:
        raise click.UsageError("give --project and --dataset, or --verify FILE, or --export-key FILE")
    from annotriage.report.certificate_page import certificate_page
    from annotriage.service.guarantee.certifying import certify_again, dataset_called
    from annotriage.service.guarantee.signing import signed
    from annotriage.service.readings.certificate import certificate_now, facts_of
    from annotriage.store.projects import project_of

    moment = None if until is None else _moment(until)
    with service_process(config) as process:
        with process.store.reading() as connection:
            found = project_of(connection, project)
            chosen = dataset_called(connection, found, dataset)
        id = certify_again(process, found, chosen, until=moment, wanted=wanted, anew=anew, by=by or getpass.getuser())
        with process.store.reading() as connection:
            now = certificate_now(connection, found, id)
        document = signed(process.store, facts_of(now))
    if out is not None:
        from annotriage.report.output import json_text

        _write(out, json_text(document) + "\n")
    if html is not None:
        _write(html, certificate_page(document))
    if as_json:
        print_json(document)
        return
    click.echo(now.sentence)
    if now.gone:
        click.echo(words.gone(now.gone))
    for step in now.steps:
        click.echo(f"  {words.step(step.most, step.checks, now.open)}")
    click.echo(f"{now.method} Certificate {now.id}, made by {now.made_by}. {words.STAYS}")
    if now.steps and not now.open:
        click.echo(
            f"Next: annotriage certify --project {project} --dataset {dataset} --wanted {now.steps[0].most} draws the checks for that."
        )


def _verify(file: Path, key: Path | None, config: Path | None, as_json: bool) -> None:
    from annotriage.service.guarantee.signing import public_key, verified

    text = _read(file)
    if key is not None:
        pem = _read(key)
    else:
        with service_process(config) as process:
            pem = public_key(process.store)
    facts = verified(text, pem)
    if as_json:
        print_json(facts)
        return
    click.echo(f"Unchanged, and signed with this key, as of {facts.get('as_of')}: {facts.get('sentence')}")


def _export(file: Path, config: Path | None) -> None:
    from annotriage.service.guarantee.signing import public_key

    with service_process(config) as process:
        _write(file, public_key(process.store))
    click.echo(f"{file}: the public key. Give it to those who check certificates, by another way than the certificates.")


def _moment(text: str) -> float:
    """A moment, or the end of a day, in seconds since 1970; never after now."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"--until {text!r} is no day (2026-11-26) and no moment (2026-11-26T12:00:00Z)") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min((moment + timedelta(days=1) if len(text) == len("2026-11-26") else moment).timestamp(), time.time())


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise OutputError(f"{file}: cannot be written ({error.strerror}); choose another place") from error


COMMANDS: tuple[click.Command, ...] = (certify,)
