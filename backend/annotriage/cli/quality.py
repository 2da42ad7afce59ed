"""Commands on the quality of data: audit-labels, duplicates."""

from __future__ import annotations

from pathlib import Path

import click

from annotriage.cli.options import (
    PATH,
    Run,
    examples,
    labeling_config_option,
    model_option,
    print_json,
    reads_data,
    reference_option,
    replace_option,
)


@click.command(
    "audit-labels",
    epilog=examples("annotriage audit-labels --reference reference --data labelled.csv --out label-audit", "open label-audit/report.html"),
)
@reference_option
@click.option("--data", required=True, help="DATA with the labels to check; also what the model was trained on.")
@click.option("--out", type=PATH, required=True, help="Folder for label_issues.csv, summary.json and report.html.")
@click.option(
    "--folds", type=int, help="0: check by the model's answers; 2 or more: by heads that did not see the labels.  [0; 5 if trained on them]"
)
@click.option(
    "--order",
    type=click.Choice(["self-confidence", "margin", "entropy", "loss"]),
    default="self-confidence",
    show_default=True,
    help="What comes first.",
)
@click.option("--rule", "rules", multiple=True, help='A label that asks for another one, as "runway => airport", where items have several.')
@model_option
@labeling_config_option
@replace_option
@reads_data
def audit_labels(run: Run, out: Path, folds: int | None, order: str, rules: tuple[str, ...], replace_existing: bool) -> None:
    """Labels that look wrong, each with its reason, and how many there may be. Nothing is changed."""
    from annotriage.report.label_audit import audit_labels_to_folder, audit_text
    from annotriage.report.output import REPORT

    found = audit_labels_to_folder(
        run.reference, run.data, out, folds=folds, order=order, rules=rules, replace_existing=replace_existing, **run.how
    )
    if run.as_json:
        print_json(found.summary())
        return
    click.echo(audit_text(found))
    click.echo(f"Report: {out / REPORT}")


@click.command(
    epilog=examples(
        "annotriage duplicates --reference reference --data images/new --out duplicates.csv",
        "annotriage duplicates --reference reference --data images/held_out --against images/train --out leaks.csv",
    )
)
@reference_option
@click.option("--data", required=True, help="DATA to look through.")
@click.option("--against", help="DATA that it should share nothing with, as the training set with held-out items.")
@click.option("--out", type=PATH, required=True, help="The CSV file: id, twin, set, distance, kind.")
@model_option
@labeling_config_option
@click.option("--replace", "replace_existing", is_flag=True, help="Replace the file.")
@reads_data
def duplicates(run: Run, against: str | None, out: Path, replace_existing: bool) -> None:
    """Items that appear twice, exactly or nearly: in one dataset, or in two that should share none."""
    from annotriage.report.duplicates import duplicates_text, duplicates_to_file

    found = duplicates_to_file(run.reference, run.data, out, against, replace_existing=replace_existing, **run.how)
    if run.as_json:
        print_json(found.summary())
        return
    click.echo(duplicates_text(found))
    click.echo(f"All: {out}")


COMMANDS = (audit_labels, duplicates)
