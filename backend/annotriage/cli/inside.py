"""Commands that look into the model: sample, diagnose, atlas, dissect."""

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

METHODS = (
    "uniform",
    "confusion-matrix",
    "latent-grid",
    "gmm-spherical",
    "gmm-full",
    "max-margin",
    "visual",
    "boundary-tree",
    "errors-first",
)
QUERIES = (
    "layer-means",
    "top-neurons-of-errors",
    "errors-against-correct",
    "logits-and-layers",
    "taken-for",
    "learned-first",
    "model-similarity",
)


@click.command(
    epilog=examples(
        "annotriage sample --reference reference --data labelled.csv --out sample.csv",
        "annotriage sample --reference reference --data labelled.csv --method gmm-full --share 0.1 --outlier-share 0.5 --out sample.csv",
    )
)
@reference_option
@click.option("--data", required=True, help="DATA to choose from; labels tell where the model is wrong.")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="max-margin",
    show_default=True,
    help="How to choose: max-margin finds most errors, errors-first all that fit, uniform leaves plain averages true.",
)
@click.option("--share", type=float, help="Share of the items to take; boundary-tree has a size of its own.  [0.05]")
@click.option("--outlier-share", type=float, help="Share of doubtful items in it, the rest typical; gmm and max-margin.  [0.7]")
@click.option("--weighted", is_flag=True, help="Draw at random, doubtful items more often, instead; gmm and max-margin.")
@click.option("--out", type=PATH, required=True, help="The CSV file to write.")
@model_option
@labeling_config_option
@reads_data
def sample(run: Run, method: str, share: float | None, outlier_share: float | None, weighted: bool, out: Path) -> None:
    """The few items to look at when you ask why the model errs, each with the reason, and how far to trust them."""
    from annotriage.report.sample_file import sample_to_file

    found = sample_to_file(
        run.reference, run.data, out, method=method, share=share, outlier_share=outlier_share, weighted=weighted, **run.how
    )
    if run.as_json:
        print_json(found.summary())
        return
    for sentence in (*found.sentences, *(f"Note: {note}" for note in found.notes)):
        click.echo(sentence)
    click.echo(f"Items with the reason of each: {out}")


@click.command(
    epilog=examples(
        "annotriage diagnose --reference reference --data labelled.csv --out inside",
        "annotriage diagnose --reference reference --data labelled.csv --sample sample.csv --query taken-for --confusion 3 5 --out inside",
    )
)
@reference_option
@click.option("--data", required=True, help="DATA to look at, labelled.")
@click.option("--sample", "sample_path", type=PATH, help="Answer on these items alone, a file of `annotriage sample`.  [all items]")
@click.option("--query", "queries", type=click.Choice(QUERIES), multiple=True, help="The question, once for each.  [all]")
@click.option("--confusion", nargs=2, metavar="CLASS TAKEN_FOR", help="For taken-for: which confusion.  [the most frequent]")
@click.option("--checkpoint", "checkpoints", type=PATH, multiple=True, help="For learned-first: spec of an earlier state, oldest first.")
@click.option("--other", type=PATH, help="For model-similarity: spec of the model to compare with.")
@click.option("--out", type=PATH, required=True, help="Folder for diagnosis.html and diagnosis.json.")
@model_option
@labeling_config_option
@replace_option
@reads_data
def diagnose(
    run: Run,
    sample_path: Path | None,
    queries: tuple[str, ...],
    confusion: tuple[str, str] | None,
    checkpoints: tuple[Path, ...],
    other: Path | None,
    out: Path,
    replace_existing: bool,
) -> None:
    """What the model has learned and why it errs: seven questions answered in sentences and pictures."""
    from annotriage.report.diagnosis_page import PAGE, diagnose_to_folder

    found = diagnose_to_folder(
        run.reference,
        run.data,
        out,
        queries,
        sample=sample_path,
        confusion=confusion,
        checkpoints=checkpoints,
        other=other,
        replace_existing=replace_existing,
        **run.how,
    )
    if run.as_json:
        print_json(found.summary())
        return
    for answer in found.answers:
        click.echo(f"{answer.title}\n  {answer.sentence}")
        if answer.expected:
            click.echo(f"  {answer.expected}")
    for note in found.notes:
        click.echo(f"Note: {note}")
    click.echo(f"Pictures: {out / PAGE}")


@click.command(
    epilog=examples(
        "annotriage atlas --reference reference --data images/new --out atlas",
        "annotriage atlas --reference reference --data images/new --layer maps --layer hidden1 --out atlas",
        "annotriage atlas --reference reference --data labelled.csv --graph cat --against dog --out atlas",
    )
)
@reference_option
@click.option("--data", required=True, help="DATA to lay out; outliers are drawn in where they fall.")
@click.option("--layer", "layers", multiple=True, help="A hidden layer, once for each.  [the deciding one]")
@click.option("--graph", metavar="CLASS", help="Also draw what this class is recognised by, layer by layer: graph.html.")
@click.option("--against", metavar="CLASS", help="Another class beside it, and what both share.")
@click.option("--out", type=PATH, required=True, help="Folder for atlas.html and atlas.json.")
@model_option
@labeling_config_option
@replace_option
@reads_data
def atlas(run: Run, layers: tuple[str, ...], graph: str | None, against: str | None, out: Path, replace_existing: bool) -> None:
    """The world as a layer of the model sees it, to walk through: cells of alike items, classes, and where strange items fall."""
    from annotriage.report.atlas_page import GRAPH, PAGE, atlas_to_folder, sentences

    found = atlas_to_folder(
        run.reference, run.data, out, layers, graph=graph, against=against, replace_existing=replace_existing, **run.how
    )
    if run.as_json:
        print_json(found.summary())
        return
    for sentence in (*sentences(found), *(f"Note: {note}" for note in found.inside.notes)):
        click.echo(sentence)
    click.echo(f"Atlas: {out / PAGE}")
    if found.graph is not None:
        for sentence in (*found.graph.sentences, *(f"Note: {note}" for note in found.graph.notes)):
            click.echo(sentence)
        click.echo(f"Attribution graph: {out / GRAPH}")


@click.command(
    epilog=examples(
        "annotriage dissect --reference reference --data images --masks masks --out dissection",
        "annotriage dissect --reference reference --data images --concepts concepts.csv --layer hidden1 --out dissection",
    )
)
@reference_option
@click.option("--data", required=True, help="DATA with the items that have concepts.")
@click.option("--masks", type=PATH, help="Folder of masks: concept/item.png, black where the concept is not.")
@click.option("--concepts", type=PATH, help="CSV file instead: id (or path), then 1 or 0 for each concept.")
@click.option("--layer", "layers", multiple=True, help="A hidden layer, once for each.  [those on the way through]")
@click.option("--quantile", type=float, help="Share of all places on which a unit is active; with masks.  [0.005]")
@click.option("--out", type=PATH, required=True, help="Folder for dissection.html and dissection.json.")
@model_option
@labeling_config_option
@replace_option
@reads_data
def dissect(
    run: Run,
    masks: Path | None,
    concepts: Path | None,
    layers: tuple[str, ...],
    quantile: float | None,
    out: Path,
    replace_existing: bool,
) -> None:
    """Which units of the model stand for which concept, by masks or labels that you give."""
    from annotriage.report.dissection_page import PAGE, dissect_to_folder

    how = run.how if quantile is None else {**run.how, "quantile": quantile}
    found = dissect_to_folder(
        run.reference, run.data, out, masks=masks, concepts=concepts, layers=layers, replace_existing=replace_existing, **how
    )
    if run.as_json:
        print_json(found.summary())
        return
    for sentence in (*found.sentences, *(f"Note: {note}" for note in found.notes)):
        click.echo(sentence)
    click.echo(f"Units and concepts: {out / PAGE}")


COMMANDS = (sample, diagnose, atlas, dissect)
