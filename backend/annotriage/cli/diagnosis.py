"""Commands that look into the model: sample, diagnose, atlas, look, dissect."""

from __future__ import annotations

from pathlib import Path

import click

from annotriage.cli.options import (
    PATH,
    Run,
    common_options,
    examples,
    labeling_config_option,
    model_option,
    print_json,
    reads_data,
    reference_option,
    replace_option,
    run_settings,
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
bank_option = click.option(
    "--bank", type=click.Choice(METHODS), help="Sampler that chooses which items are shown.  [atlas: nearest to a cell's mean]"
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
@click.option("--boundary-first", is_flag=True, help="List those nearest to a boundary between classes first; gmm and max-margin.")
@click.option("--out", type=PATH, required=True, help="The CSV file to write.")
@model_option
@labeling_config_option
@reads_data
def sample(
    run: Run, method: str, share: float | None, outlier_share: float | None, weighted: bool, boundary_first: bool, out: Path
) -> None:
    """The few items to look at when you ask why the model errs, each with the reason, and how far to trust them."""
    from annotriage.report.sample_file import sample_to_file

    found = sample_to_file(
        run.reference,
        run.data,
        out,
        method=method,
        share=share,
        outlier_share=outlier_share,
        weighted=weighted,
        boundary_first=boundary_first,
        **run.how,
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
@bank_option
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
    bank: str | None,
    out: Path,
    replace_existing: bool,
) -> None:
    """What the model has learned and why it errs: seven questions answered in sentences and pictures.

    Two of them need more than the data: learned-first --checkpoint, model-similarity --other. They are left out without.
    """
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
        bank=bank,
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
@click.option("--data", required=True, help="DATA to lay out; strange items are drawn in where they fall.")
@click.option("--layer", "layers", multiple=True, help="A hidden layer, once for each.  [the deciding one]")
@click.option(
    "--places",
    type=click.Choice(("pooled", "random")),
    default="pooled",
    show_default=True,
    help="Of a feature map: its means, so that images lie together, or one random place, so that patches do.",
)
@click.option(
    "--faces", type=click.Choice(("0", "6", "12")), default="0", help="Cells along an edge for which a torch model makes images.  [none]"
)
@bank_option
@click.option("--graph", metavar="CLASS", help="Also draw what this class is recognised by, layer by layer: graph.html.")
@click.option("--against", metavar="CLASS", help="Another class beside it, and what both share.")
@click.option("--out", type=PATH, required=True, help="Folder for atlas.html and atlas.json.")
@model_option
@labeling_config_option
@replace_option
@reads_data
def atlas(
    run: Run,
    layers: tuple[str, ...],
    places: str,
    faces: str,
    bank: str | None,
    graph: str | None,
    against: str | None,
    out: Path,
    replace_existing: bool,
) -> None:
    """The data as a layer of the model sees it, to walk through: cells of similar items, classes, and where strange items fall."""
    from annotriage.report.atlas_page import PAGE, atlas_to_folder, sentences
    from annotriage.report.graph_page import PAGE as GRAPH

    found = atlas_to_folder(
        run.reference,
        run.data,
        out,
        layers,
        places=places,
        faces=int(faces),
        bank=bank,
        graph=graph,
        against=against,
        replace_existing=replace_existing,
        **run.how,
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


@click.command(
    epilog=examples(
        "annotriage look --reference reference --image scans/a.png",
        "annotriage look --reference reference --image a.png --paste b.png --box 0.2 0.2 0.4 0.4 --at 0.5 0.1 --picture pasted.png",
    )
)
@reference_option
@click.option("--image", type=PATH, required=True, help="The image file to look at.")
@click.option("--layer", default="", help="A layer that the reference compares.  [the last that has places]")
@click.option("--paste", type=PATH, help="Another image, of which a piece is put on the first.")
@click.option(
    "--box",
    nargs=4,
    type=float,
    default=(0.0, 0.0, 1.0, 1.0),
    metavar="LEFT TOP WIDTH HEIGHT",
    help="The piece, in shares of its image.  [all of it]",
)
@click.option(
    "--at", nargs=2, type=float, default=(0.0, 0.0), metavar="LEFT TOP", help="Where it goes, in shares of the first image.  [0 0]"
)
@click.option("--picture", type=PATH, help="Write what the model saw, with the piece if there is one, here as a PNG.")
@model_option
@common_options
def look(
    reference_path: Path,
    image: Path,
    layer: str,
    paste: Path | None,
    box: tuple[float, float, float, float],
    at: tuple[float, float],
    picture: Path | None,
    model_path: Path | None,
    config: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """What each place of an image speaks for; and how a piece of another image, pasted on it, moves the answer."""
    from annotriage.advice.numbers import percent
    from annotriage.engine.diagnosis.image_grid import Patch, look_at_image
    from annotriage.engine.reference import Reference

    reference = Reference.load(reference_path)
    patch = None if paste is None else Patch(paste, box, at)
    settings = run_settings(config, {}, reference.settings)
    found = look_at_image(reference, image, layer, patch=patch, model=model_path, settings=settings)
    if picture is not None:
        found.write_picture(picture)
    if as_json:
        print_json(found.summary())
        return
    after = found.shares if found.pasted is None else found.pasted.shares
    for kind in sorted(range(len(after)), key=lambda kind: -after[kind]):
        was = "" if found.pasted is None else f", {percent(found.shares[kind])} before"
        click.echo(f"{found.classes[kind]}: {percent(after[kind])}{was}")
    if found.layer:
        click.echo(f"What each place of {found.layer} speaks for most, by {found.how}:")
        for row in found.evidence.argmax(axis=0).tolist():
            click.echo("  " + " ".join(found.classes[kind] for kind in row))
    for note in found.notes:
        click.echo(f"Note: {note}")


COMMANDS = (sample, diagnose, atlas, dissect, look)
