"""Commands on groups of items that look alike: look-alikes."""

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
    run_settings,
    service_process,
    service_settings,
    setting_options,
)
from annotriage.errors import SettingError


@click.command(
    "look-alikes",
    epilog=examples(
        "annotriage look-alikes --reference reference --data images/new --like scan-0041.png --out group",
        "annotriage look-alikes --answers group      # once group/questions.csv is filled in",
        "annotriage look-alikes --project 3 --group 1 --out group",
        "annotriage look-alikes --project 3 --answers group      # once people have answered these tasks",
    ),
)
@click.option("--project", help="In place of --reference and --data: tasks of this project that nobody has answered.")
@click.option("--reference", "reference_path", type=PATH, help="Folder of the reference.")
@click.option("--data", help="DATA in which to look.")
@click.option("--like", help="Id of an item: the group is what is most similar to it.")
@click.option("--group", type=int, help="Number of a group of strange items, as in the report of a triage.")
@click.option("--count", type=int, default=200, show_default=True, help="With --like: how many.")
@click.option("--group-error", type=float, default=0.05, show_default=True, help="Share of the rest that may have another label at most.")
@click.option("--out", type=PATH, default=Path("look-alikes"), show_default=True, help="Folder for the questions.")
@click.option("--answers", "answered", type=PATH, help="Folder whose questions people have answered: label the rest, or ask further.")
@click.option("--split", "in_two", is_flag=True, help="With --answers: split a mixed group in two, with questions of their own.")
@model_option
@labeling_config_option
@click.option("--replace", "replace_existing", is_flag=True, help="Replace the group in --out.")
@setting_options(run_only=True)
@common_options
def look_alikes(
    project: str | None,
    reference_path: Path | None,
    data: str | None,
    like: str | None,
    group: int | None,
    count: int,
    group_error: float,
    out: Path,
    answered: Path | None,
    in_two: bool,
    model_path: Path | None,
    labeling_config: Path | None,
    replace_existing: bool,
    config: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Label many similar items at once: people answer some, drawn at random, and the rest follow if enough agree.

    Works for classes that the model does not know, too: the label is what people write into questions.csv.
    """
    if answered is not None:
        _answered(answered, project, config, in_two, as_json)
        return
    from annotriage.advice.look_alike_words import asking_sentence
    from annotriage.engine.look_alikes import look_alikes as find
    from annotriage.engine.reference import Reference
    from annotriage.report.look_alikes_folder import QUESTIONS, write_look_alikes

    known = project is not None or (reference_path is not None and data is not None)
    if not known or (like is None) == (group is None):
        raise SettingError("give --reference and --data, or --project, and either --like ID or --group NUMBER; or --answers FOLDER")
    if not 0 < group_error < 0.5:
        raise SettingError(f"--group-error {group_error:g}: must be above 0 and below 0.5")
    chosen: dict[str, Any] = {"like": like, "group": group, "count": count, "group_error": group_error, "progress": progress_bars(quiet)}
    if project is not None:
        from annotriage.service.guarantee.look_alikes import project_look_alikes
        from annotriage.store.projects import project_of

        with service_process(config) as process:
            with process.store.reading() as connection:
                connected = project_of(connection, project)
            found = project_look_alikes(process, connected, **chosen)
    else:
        reference = Reference.load(reference_path or "")
        found = find(
            reference,
            data or "",
            model=model_path,
            settings=run_settings(config, options, reference.settings),
            labeling_config=labeling_config,
            server=service_settings(config, {}),
            **chosen,
        )
    write_look_alikes(found, out, replace_existing=replace_existing)
    sentence = asking_sentence(len(found.ids), found.looks[0], found.confidence)
    if as_json:
        print_json({"why": found.why, "members": len(found.ids), "looks": [vars(look) for look in found.looks], "sentence": sentence})
        return
    click.echo(f"{found.why[:1].upper()}{found.why[1:]}. {sentence}")
    if project is not None:
        click.echo(f"Label the tasks of {out / QUESTIONS} in the project, then: annotriage look-alikes --project {project} --answers {out}")
    else:
        click.echo(f"Write the labels into {out / QUESTIONS}, then: annotriage look-alikes --answers {out}")


def _answered(folder: Path, project: str | None, config: Path | None, in_two: bool, as_json: bool) -> None:
    from annotriage.advice.look_alike_words import standing_sentence
    from annotriage.report.look_alikes_folder import LABELS, answer_look_alikes, read_look_alikes, split_look_alikes

    if in_two:
        places = split_look_alikes(folder)
        if as_json:
            print_json({"halves": [str(place) for place in places]})
        else:
            click.echo(f"Questions of their own: {', '.join(map(str, places))}")
        return
    given, group = None, read_look_alikes(folder)[0]
    if project is not None:
        from annotriage.service.guarantee.look_alikes import answers_in_project
        from annotriage.store.projects import project_of

        with service_process(config) as process:
            with process.store.reading() as connection:
                connected = project_of(connection, project)
            given = answers_in_project(process, connected, group.ids)
    found = answer_look_alikes(folder, given)
    sentence = standing_sentence(found.label, found.standing, group.group_error, group.confidence)
    if as_json:
        print_json({"label": found.label, "standing": vars(found.standing), "labelled_at_once": len(found.rest), "sentence": sentence})
        return
    click.echo(sentence)
    if found.standing.shown:
        click.echo(f"All labels: {folder / LABELS}")


COMMANDS = (look_alikes,)
