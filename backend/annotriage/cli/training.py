"""Commands that make a better model: train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from annotriage.cli.options import (
    PATH,
    common_options,
    examples,
    labeling_config_option,
    print_json,
    progress_bars,
    replace_option,
    service_process,
    service_settings,
    setting_options,
)
from annotriage.errors import SettingError
from annotriage.settings import Settings

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference
    from annotriage.model.spec import ModelSpec
    from annotriage.training.retraining import Training

COLLECT = ("rarest", "max-margin", "gmm-full", "gmm-spherical")
PERPLEXITIES = ("off", "kl", "gaussian", "gmm")


@click.command(
    epilog=examples(
        "annotriage train --reference reference --train images/train --reviewed label-studio:3 --calibration images/held_out --out better",
        "annotriage train --project 3 --train images/train --out better",
        "annotriage train --model encoder.toml --train first_answers.csv --out first",
    ),
)
@click.option("--reference", "reference_path", type=PATH, help="The reference whose model is to learn on.")
@click.option("--project", help="In place of --reference, --reviewed, --calibration: what people answered in this project.")
@click.option(
    "--model", "model_path", type=PATH, help="The model spec: of an encoder without a head, or where the reference's model is now."
)
@click.option("--train", "train_data", required=True, help="DATA that the model was trained on, labelled.")
@click.option("--reviewed", help="DATA that people labelled since. Spot checks and held-out items among it are left out.")
@click.option("--augmented", help="DATA made from training items by augmentation, with their labels.")
@click.option("--calibration", help="Random held-out DATA: carries the new guarantee, and compares both models.")
@click.option("--keep-out", help="DATA that must never be trained on: spot checks, gold tasks.")
@click.option("--out", type=PATH, required=True, help="Folder for the new model, its reference and the report.")
@click.option("--new-class", "new_classes", multiple=True, help="A class to learn that the model does not know.  [all with 10 items]")
@click.option("--whole", is_flag=True, help="Train the whole network, not its head alone; for torch factories.")
@click.option("--epochs", type=int, default=20, show_default=True, help="Passes over the items.")
@click.option("--step-size", type=int, default=64, show_default=True, help="Items per training step; lower it if memory is short.")
@click.option("--learning-rate", type=float, help="Lower it if training diverges.  [0.01; with --whole 0.001]")
@click.option("--weight-decay", type=float, default=1e-3, show_default=True, help="Raise it when few items are trained on.")
@click.option("--smoothing", type=float, default=0.0, show_default=True, help="Label smoothing; raise it where labels are noisy.")
@click.option("--mixup", type=float, default=0.0, show_default=True, help="Train on mixtures of items, shares from Beta(a, a).  0 = off")
@click.option(
    "--perplexity", type=click.Choice(PERPLEXITIES), default="off", show_default=True, help="Leave out samples that surprise too little."
)
@click.option("--drop-below", type=float, help="Perplexity in nats below which a sample sits out.  [kl: 0.02, else the first median]")
@click.option("--drop-above", type=float, help="Perplexity in nats above which a sample is taken for noise and sits out.  [none]")
@click.option("--readmit", type=int, default=4, show_default=True, help="Epochs after which all samples come back; 0 = never.")
@click.option("--pool", help="DATA to choose from what to collect: ranked by rarity into collect.csv.")
@click.option(
    "--collect",
    type=click.Choice(COLLECT),
    default="rarest",
    show_default=True,
    help="How the pool is ranked: what is rare among training items, or what lies where classes or clusters meet.",
)
@click.option("--scores", is_flag=True, help="EL2N and GraNd of every sample, in samples.csv.")
@click.option("--prune", is_flag=True, help="Measure which part of the training set could go.")
@click.option("--learning-curve", is_flag=True, help="Measure what 500 more labels would gain.")
@click.option("--strange", is_flag=True, help="Measure what the strange ones among the added items bring.")
@labeling_config_option
@replace_option
@setting_options(run_only=True)
@common_options
def train(
    reference_path: Path | None,
    project: str | None,
    model_path: Path | None,
    train_data: str,
    reviewed: str | None,
    augmented: str | None,
    calibration: str | None,
    keep_out: str | None,
    out: Path,
    new_classes: tuple[str, ...],
    whole: bool,
    epochs: int,
    step_size: int,
    learning_rate: float | None,
    weight_decay: float,
    smoothing: float,
    mixup: float,
    perplexity: str,
    drop_below: float | None,
    drop_above: float | None,
    readmit: int,
    pool: str | None,
    collect: str,
    scores: bool,
    prune: bool,
    learning_curve: bool,
    strange: bool,
    labeling_config: Path | None,
    replace_existing: bool,
    config: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model further on what people labelled: makes a new model, its reference, and a comparison of both.

    A run that was stopped goes on where it was when the same command is given again.
    """
    from annotriage.engine.folders import refuse_existing
    from annotriage.engine.reference import Reference
    from annotriage.report.training_output import FACTS, REFERENCE, training_facts, training_text
    from annotriage.report.training_output import train as run_training
    from annotriage.training.plan import Plan
    from annotriage.training.retraining import Wishes

    refuse_existing(out, what="results", mark=FACTS, replaceable=replace_existing)
    reference = None if reference_path is None else Reference.load(reference_path)
    settings = Settings.load(config, given=options, fitted=None if reference is None else reference.settings)
    plan = Plan(
        whole=whole,
        epochs=epochs,
        batch_size=step_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        perplexity=perplexity,
        drop_below=drop_below,
        drop_above=drop_above,
        readmit=readmit,
        smoothing=smoothing,
        mixup=mixup,
        seed=settings.seed,
    )
    wishes = Wishes(scores=scores, prune=prune, curve=learning_curve, strange=strange, pool=pool, collect=collect)
    chosen: dict[str, Any] = {"plan": plan, "wishes": wishes, "new_classes": new_classes or None, "replace_existing": replace_existing}
    if project is not None:
        if reference_path or model_path or reviewed or augmented or calibration or keep_out:
            raise SettingError("--project knows its reference and its answers: leave --reference, --model, --reviewed and the like out")
        found = _of_project(project, train_data, out, config, quiet, chosen)
    else:
        found = run_training(
            _base(reference, model_path),
            train_data,
            out,
            reviewed=reviewed,
            augmented=augmented,
            calibration=calibration,
            keep_out=keep_out,
            model=model_path,
            settings=settings,
            labeling_config=labeling_config,
            server=service_settings(config, {}),
            progress=progress_bars(quiet),
            **chosen,
        )
    if as_json:
        print_json(training_facts(found))
        return
    click.echo(training_text(found, out))
    if project is not None:
        click.echo(f"To let it take over: annotriage connect --project {project} --reference {out / REFERENCE}")


def _base(reference: Reference | None, model_path: Path | None) -> Reference | ModelSpec:
    from annotriage.model.spec import ModelSpec

    if reference is not None:
        return reference
    if model_path is None:
        raise SettingError("give --reference REFERENCE_DIR, or --project N, or for a model that has no reference yet --model model.toml")
    return ModelSpec.load(model_path)


def _of_project(number: str, train_data: str, out: Path, config: Path | None, quiet: bool, chosen: dict[str, Any]) -> Training:
    from annotriage.service.guarantee.retraining import retrain_project
    from annotriage.store.projects import project_of

    with service_process(config) as process:
        with process.store.reading() as connection:
            found = project_of(connection, number)
        return retrain_project(process, found, train_data, out, progress=progress_bars(quiet), **chosen)


COMMANDS = (train,)
