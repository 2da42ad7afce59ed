"""Commands on the quality of data: audit-labels, duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from annotriage.cli.options import (
    PATH,
    common_options,
    examples,
    labeling_config_option,
    model_option,
    print_json,
    progress_bars,
    reference_option,
    replace_option,
    run_settings,
    service_settings,
    setting_options,
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
@setting_options(run_only=True)
@common_options
def audit_labels(
    reference_path: Path,
    data: str,
    out: Path,
    folds: int | None,
    order: str,
    rules: tuple[str, ...],
    model_path: Path | None,
    labeling_config: Path | None,
    replace_existing: bool,
    config: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Labels that look wrong, each with its reason, and how many there may be. Nothing is changed."""
    from annotriage.engine.reference import Reference
    from annotriage.report.label_audit import audit_labels_to_folder, audit_text
    from annotriage.report.output import REPORT

    reference = Reference.load(reference_path)
    found = audit_labels_to_folder(
        reference,
        data,
        out,
        folds=folds,
        order=order,
        rules=rules,
        model=model_path,
        settings=run_settings(config, options, reference.settings),
        replace_existing=replace_existing,
        labeling_config=labeling_config,
        server=service_settings(config, {}),
        progress=progress_bars(quiet),
    )
    if as_json:
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
@setting_options(run_only=True)
@common_options
def duplicates(
    reference_path: Path,
    data: str,
    against: str | None,
    out: Path,
    model_path: Path | None,
    labeling_config: Path | None,
    replace_existing: bool,
    config: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Items that are there twice, exactly or nearly: in one dataset, or in two that should share none."""
    from annotriage.engine.reference import Reference
    from annotriage.report.duplicates import duplicates_text, duplicates_to_file

    reference = Reference.load(reference_path)
    found = duplicates_to_file(
        reference,
        data,
        out,
        against,
        model=model_path,
        settings=run_settings(config, options, reference.settings),
        replace_existing=replace_existing,
        labeling_config=labeling_config,
        server=service_settings(config, {}),
        progress=progress_bars(quiet),
    )
    if as_json:
        print_json(found.summary())
        return
    click.echo(duplicates_text(found))
    click.echo(f"All: {out}")


COMMANDS = (audit_labels, duplicates)
