"""Commands on files, without a server: fit, triage, compare, layers, demo."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.cli.options import (
    PATH,
    Run,
    common_options,
    examples,
    labeling_config_option,
    model_option,
    print_json,
    progress_bars,
    reads_data,
    reference_option,
    replace_option,
    service_settings,
    setting_options,
)
from annotriage.errors import DataError
from annotriage.settings import Settings


@click.command(
    epilog=examples("annotriage fit --model model.toml --train images/train --calibration images/held_out --out reference"),
)
@click.option("--model", "model_path", type=PATH, required=True, help="The model spec, a TOML file beside the model.")
@click.option("--train", required=True, help="DATA that the model was trained on, labelled.")
@click.option("--calibration", help="Held-out DATA that it was not trained on; its labels carry the guarantee.")
@click.option(
    "--incoming",
    help="Unlabelled DATA as it comes in now. Half of --calibration learns what is new about it, so that strange items that look like a"
    " known class are labelled automatically less often. Worth it where many come in.",
)
@click.option("--out", type=PATH, required=True, help="Folder for the reference.")
@click.option("--name", help="Name of the reference.  [the folder's]")
@labeling_config_option
@click.option(
    "--previous", type=PATH, help="The reference that this one replaces: asking the same held-out items again is tested more strictly."
)
@click.option("--replace", "replace_existing", is_flag=True, help="Replace the reference in --out, as --previous.")
@click.option("--ignore-unknown-labels", is_flag=True, help="Leave items out whose label is none of the model's classes.  [refuse them]")
@setting_options(run_only=False)
@common_options
def fit(
    model_path: Path,
    train: str,
    calibration: str | None,
    incoming: str | None,
    out: Path,
    name: str | None,
    labeling_config: Path | None,
    previous: Path | None,
    replace_existing: bool,
    ignore_unknown_labels: bool,
    config: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn what the training set looks like inside the model, and calibrate on held-out items: makes a reference."""
    from annotriage.engine.fitting import fit as fit_reference
    from annotriage.engine.folders import refuse_existing
    from annotriage.engine.reference import DESCRIPTION, Reference

    settings = Settings.load(config, given=options)
    if replace_existing and previous is None and (out / DESCRIPTION).exists():
        previous = out
    if not replace_existing:
        refuse_existing(out, what="reference", mark=DESCRIPTION)
    reference = fit_reference(
        model_path,
        train,
        calibration,
        incoming=incoming,
        settings=settings,
        labeling_config=labeling_config,
        server=service_settings(config, {}),
        name=name or out.resolve().name,
        previous=None if previous is None else Reference.held_out_in(previous),
        ignore_unknown_labels=ignore_unknown_labels,
        progress=progress_bars(quiet),
    )
    reference.save(out, replace_existing=replace_existing)
    if as_json:
        print_json(reference.facts())
        return
    click.echo(f"Reference {reference.name} ({reference.version[:8]}) in {out}: {reference.counts['training']:,} training items", nl=False)
    click.echo(f" in {len(reference.detector.clusters.names)} clusters, {reference.counts.get('held_out', 0):,} held-out items.")
    click.echo(f"The model is right on {reference.accuracies()}.")
    click.echo(f"Layers: {', '.join(reference.model.layers)}. Scores: {', '.join(reference.member_names)}.")
    click.echo(guarantee_sentence(reference.guarantee))
    for note in reference.notes:
        click.echo(f"Note: {note}")
    click.echo(f"Next: annotriage triage --reference {out} --data DATA --out results")


@click.command(
    epilog=examples(
        "annotriage triage --reference reference --data images/new --out results",
        "open results/report.html",
        "annotriage triage --reference reference --data s3://scans/2026 --engine ray --ray-address auto --out results",
    )
)
@reference_option
@click.option("--data", required=True, help="DATA to judge.")
@click.option("--out", type=PATH, required=True, help="Folder for verdicts.csv, predictions.json, summary.json and report.html.")
@model_option
@click.option(
    "--labeling-config", type=PATH, help="Label Studio's labeling config (XML), for predictions.json.  [Choices label on Image image]"
)
@replace_option
@click.option(
    "--table", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True, help="How the verdicts are written, one row each."
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray: by many workers, on this machine or a cluster; a run that was ended is continued. The verdicts come as Parquet parts.",
)
@click.option("--workers", type=click.IntRange(1), help="With --engine ray: how many judge side by side.  [as many as the cores carry]")
@click.option("--worker-gpus", type=click.FloatRange(0), default=0.0, show_default=True, help="With --engine ray: GPUs of each worker.")
@click.option("--ray-address", help="With --engine ray: a running cluster; auto for this machine's.  [Ray is started here]")
@reads_data
def triage(
    run: Run,
    out: Path,
    replace_existing: bool,
    table: str,
    engine: str,
    workers: int | None,
    worker_gpus: float,
    ray_address: str | None,
) -> None:
    """Judge every item: which ones the model may label, which ones a person must see, and how much of the dataset is new."""
    from annotriage.report.output import REPORT, summary_text, triage_to_folder
    from annotriage.report.verdict_files import FILES

    if engine == "ray":
        from annotriage.lake.ray_triage import VERDICTS, triage_on_ray

        written = VERDICTS
        cluster: dict[str, Any] = {"workers": workers, "gpus": worker_gpus, "address": ray_address}
        result = triage_on_ray(run.reference, run.data, out, replace_existing=replace_existing, **cluster, **run.how)
    else:
        written = FILES[table]
        result = triage_to_folder(run.reference, run.data, out, replace_existing=replace_existing, table=table, **run.how)
    if run.as_json:
        print_json(result.summary())
    if result.waiting and not result.diversity.n:
        raise DataError(
            f"none of the {len(result.verdicts):,} items of {result.dataset} could be scored: {result.waiting[0].verdict.reason}."
            f" {out / written} has the reason of each; correct the data, and run this again with --replace"
        )
    if not run.as_json:
        click.echo(summary_text(result))
        click.echo(f"Report: {out / REPORT}")


def _compressions(_context: click.Context, _option: click.Parameter, given: str) -> tuple[str, ...]:
    from annotriage.engine.compare import SPACES

    wanted = tuple(part.strip() for part in given.split(",") if part.strip())
    if not wanted or set(wanted) - set(SPACES):
        raise click.BadParameter(f"{given!r}: name some of {', '.join(SPACES)}")
    return wanted


def _named(_context: click.Context, _option: click.Parameter, sets: tuple[str, ...]) -> dict[str, str]:
    """The sets of --foreign by name: as given, NAME=DATA, or by the last part of their place."""
    found: dict[str, str] = {}
    for text in sets:
        name, equals, place = text.partition("=")
        if not equals or Path(text).exists():
            name, place = Path(text).stem or text, text
        if not (name and place):
            raise click.BadParameter(f"{text!r} lacks a name or data; give NAME=DATA, or DATA alone")
        if name in found:
            raise click.BadParameter(f"two sets have the name {name!r}; name them: --foreign NAME=DATA")
        found[name] = place
    return found


@click.command(
    epilog=examples(
        "annotriage compare --reference reference --data labelled.csv",
        "annotriage compare --reference reference --data known.csv --foreign noise=images/noise --foreign images/other --out comparison",
    )
)
@reference_option
@click.option("--data", required=True, help="DATA to try on; a label that the model does not know marks a foreign item.")
@click.option(
    "--foreign",
    multiple=True,
    callback=_named,
    metavar="[NAME=]DATA",
    help="DATA that is foreign as a whole, once for each set. Beside it --data without labels is what is usual.",
)
@model_option
@click.option(
    "--compressions",
    default="none,pca,umap,tsne,tsne-joint,umap-joint,pca-joint",
    show_default=True,
    callback=_compressions,
    help="Leave umap, tsne and the -joint ones (the published method: raw activations, each set embedded with the training items) out to"
    " save their minutes.",
)
@click.option(
    "--published-above",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Diversity score above which the published method's advice turns; its source leaves that open.",
)
@click.option("--out", type=PATH, help="Folder for comparison.html and comparison.json.")
@replace_option
@labeling_config_option
@reads_data
def compare(
    run: Run,
    foreign: dict[str, str],
    compressions: tuple[str, ...],
    published_above: float,
    out: Path | None,
    replace_existing: bool,
) -> None:
    """Every score and both threshold rules side by side on your own data, and which is best, on several foreign sets at once."""
    from annotriage.engine.compare import compare as run_comparison
    from annotriage.report.comparison import PAGE, compare_to_folder, comparison_facts, comparison_text

    wishes = {"foreign": foreign, "compressions": compressions, "published_above": published_above, **run.how}
    if out is None:
        result = run_comparison(run.reference, run.data, **wishes)
    else:
        result = compare_to_folder(run.reference, run.data, out, replace_existing=replace_existing, **wishes)
    if run.as_json:
        print_json(comparison_facts(result))
        return
    click.echo(comparison_text(result))
    if out is not None:
        click.echo(f"Report: {out / PAGE}")


@click.command(epilog=examples("annotriage layers --model model.toml", "annotriage layers --model model.toml --picture layers.html"))
@click.option("--model", "model_path", type=PATH, required=True, help="The model spec, a TOML file beside the model.")
@click.option("--picture", type=PATH, help="HTML file for a picture of the model's graph, the compared layers marked.")
@click.option("--json", "as_json", is_flag=True, help="Print the layers as JSON.")
def layers(model_path: Path, picture: Path | None, as_json: bool) -> None:
    """The hidden layers that can be compared, and which of them layer = "auto" takes."""
    from annotriage.model import candidate_layers
    from annotriage.model.spec import ModelSpec

    spec = ModelSpec.load(model_path)
    found = candidate_layers(spec)
    if picture is not None:
        from annotriage.report.layers_page import write_layers

        write_layers(spec, picture)
    if as_json:
        print_json([dataclasses.asdict(layer) for layer in found])
        return
    width = max((len(layer.name) for layer in found), default=4)
    for layer in found:
        shape = " x ".join("?" if size is None else str(size) for size in layer.shape)
        click.echo(f"{layer.name:<{width}}  {layer.operation:<20} {shape:<18} {layer.chosen}".rstrip())
    click.echo(
        '\nIn the model spec: layer = "auto" takes the marked ones; layer = "NAME" or ["NAME", ...] takes others, the first decides.'
    )
    if picture is not None:
        click.echo(f"Picture: {picture}")


@click.command(
    epilog=examples("annotriage demo", "annotriage demo --offline", "annotriage demo --story diversity", "annotriage demo --stop")
)
@click.option("--offline", is_flag=True, help="Without a server: files in, files out.")
@click.option("--once", is_flag=True, help="Start all, check what annotators find, stop all; exit 1 if anything is not as it should be.")
@click.option(
    "--story",
    type=click.Choice(["diversity"]),
    help="The published experiment instead: three incoming sets, their diversity scores and what to do, in one page. Without a server.",
)
@click.option("--stop", "stop_running", is_flag=True, help="End what an earlier run left running.")
@click.option("--port", type=int, help="Port of the labeling tool.  [a free one]")
@click.option("--folder", type=PATH, default=Path(".demo"), show_default=True, help="Where the demo's data and results go.")
@click.option("--quiet", is_flag=True, help="No progress bars.")
@click.option("--json", "as_json", is_flag=True, help="With --story: print the figures as JSON.")
def demo(
    offline: bool, once: bool, story: str | None, stop_running: bool, port: int | None, folder: Path, quiet: bool, as_json: bool
) -> None:
    """Real handwritten digits from nothing: trains a model on 0-7, then triages known, unseen and damaged ones.

    Inside a real Label Studio, which it starts; with --offline from files into a report.
    """
    from annotriage.demo import live, run_offline

    if as_json and story is None:
        raise click.UsageError("--json prints the figures of a story; name it with --story")
    if stop_running:
        click.echo("Stopped." if live.stop(folder.absolute() / "live") else "Nothing was running.")
    elif story is not None:
        from annotriage.demo.story import diversity_story
        from annotriage.report.diversity_story import story_facts

        found = diversity_story(folder, (lambda _: None) if as_json else click.echo, progress_bars(quiet), Settings.load())
        if as_json:
            print_json(story_facts(found))
    elif offline:
        run_offline(folder, click.echo, progress_bars(quiet), Settings.load())
    else:
        live_demo = live.run_live(folder, click.echo, progress_bars(quiet), Settings.load(), port=port, once=once)
        if live_demo.problems:
            raise click.exceptions.Exit(1)


COMMANDS = (fit, triage, compare, layers, demo)
