"""A group of look-alikes as a folder: the questions that people answer in a table, and the labels of the rest once they are shown."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from annotriage.engine.folders import whole_folder
from annotriage.engine.look_alikes import LabelledAtOnce, LookAlikes, judge_answers, split, worth_asking
from annotriage.errors import DataError
from annotriage.report.csv_cells import Cell, csv_lines, plain_text, text_cell
from annotriage.report.html import write_page
from annotriage.report.output import json_text

GROUP, POINTS, QUESTIONS, LABELS = "group.json", "points.npz", "questions.csv", "labels.csv"
COLUMNS = ("id", "path", "label")


def write_look_alikes(group: LookAlikes, out: Path, *, replace_existing: bool = False) -> None:
    """Write a group as a new folder, with the questions up to the first look. Raises OutputError if it exists already."""
    with whole_folder(out, what="group", mark=GROUP, replaceable=replace_existing) as folder:
        facts = {"why": group.why, "group_error": group.group_error, "confidence": group.confidence, "seed": group.seed}
        (folder / GROUP).write_text(json_text({**facts, "ids": group.ids, "paths": group.paths}), "utf-8", "backslashreplace")
        np.savez(folder / POINTS, points=group.points)
        _write_questions(group, [], group.looks[0].size, folder / QUESTIONS)


def read_look_alikes(folder: Path) -> tuple[LookAlikes, list[str]]:
    """The group in a folder, and the answers that people wrote into its questions, up to the first that is missing.

    Raises DataError if the folder is none, or the questions are no longer those that were asked.
    """
    try:
        facts = json.loads((folder / GROUP).read_text("utf-8"))
        with np.load(folder / POINTS, allow_pickle=False) as file:
            points = file["points"]
        ids, paths = tuple(facts.pop("ids")), tuple(facts.pop("paths"))
        group = LookAlikes(ids, paths, points, **facts)
        with (folder / QUESTIONS).open(encoding="utf-8-sig", newline="") as table:
            rows = list(csv.DictReader(table))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{folder}: no group of look-alikes can be read there ({error}); make one with --data and --like") from error
    answers: list[str] = []
    for number, (row, id) in enumerate(zip(rows, group.ids, strict=False), start=2):
        if (row.get("id") or "") not in (id, text_cell(id)):
            raise DataError(
                f"{folder / QUESTIONS}, line {number}: asks about {row.get('id')!r} where {id!r} was drawn; leave the order as it is"
            )
        if not (row.get("label") or "").strip():
            break
        answers.append(plain_text((row["label"] or "").strip()))
    return group, answers


def answer_look_alikes(folder: Path, given: Mapping[str, str] | None = None) -> LabelledAtOnce:
    """Judge the answers in a folder, and go on: write labels.csv if the rest may be labelled, or the further questions.

    given: answers that people gave elsewhere, by id; they are written into the questions where these are still open.

    labels.csv has every member: `how` is "person" or "look-alike", so that a batch can be told apart and taken back.
    """
    group, answers = read_look_alikes(folder)
    asked = len(answers)
    while given and len(answers) < len(group.ids) and group.ids[len(answers)] in given:
        answers.append(given[group.ids[len(answers)]])
    if len(answers) > asked:
        _write_questions(group, answers, len(answers), folder / QUESTIONS)
    found = judge_answers(group, answers)
    if found.standing.shown:
        write_page(csv_lines((*COLUMNS, "how"), _labelled(group, answers, found.label or "")), folder / LABELS, "table")
    elif found.standing.next_at is not None:
        _write_questions(group, answers, found.standing.next_at, folder / QUESTIONS)
    return found


def _labelled(group: LookAlikes, answers: list[str], label: str) -> Iterator[list[Cell]]:
    for place, (id, path) in enumerate(zip(group.ids, group.paths, strict=True)):
        yield [id, path, answers[place], "person"] if place < len(answers) else [id, path, label, "look-alike"]


def split_look_alikes(folder: Path) -> tuple[Path, ...]:
    """Write both halves of a mixed group as folders inside it, those that are worth asking about: their paths."""
    group, answers = read_look_alikes(folder)
    places = []
    for name, half in zip(("first", "second"), split(group, answers), strict=True):
        if half.looks:
            write_look_alikes(replace(half), folder / name)
            places.append(folder / name)
    if not places:
        for half in split(group, answers):
            worth_asking(half)
    return tuple(places)


def _write_questions(group: LookAlikes, answers: list[str], size: int, path: Path) -> None:
    rows = zip(group.ids[:size], group.paths[:size], [*answers, *[""] * size][:size], strict=True)
    write_page(csv_lines(COLUMNS, rows), path, "table")
