"""What `annotriage people --project` prints: how well people answer."""

from __future__ import annotations

import csv
import getpass
from dataclasses import asdict
from pathlib import Path

import click

from annotriage.advice.numbers import count, percent, percent_range
from annotriage.advice.route_words import route_name
from annotriage.cli.options import print_json, service_process
from annotriage.errors import DataError
from annotriage.service.readings.people import PeopleState


def print_people(
    project: str, gold_file: Path | None, ground_truths: int | None, take_gold_out: bool, as_json: bool, config: Path | None
) -> None:
    """Keep known answers, or take answered copies out, where that is asked for; then say how well people answer."""
    from annotriage.service.quality import gold
    from annotriage.service.readings.people import people_state
    from annotriage.store.projects import project_of

    said: list[str] = []
    known = None if gold_file is None else read_known(gold_file)
    with service_process(config) as process:
        with process.store.reading() as connection:
            found = project_of(connection, project)
        by = getpass.getuser()
        asked = [] if known is None else [gold.keep_known(process, found, known, by)]
        asked += [] if ground_truths is None else [gold.keep_ground_truths(process, found, ground_truths, by)]
        for done in asked:
            said.append(f"{count(done.added, 'known answer')} kept.")
            said += [f"{number:,} left out: {why}." for why, number in done.left.items()]
        said += gold.take_gold_out(process, found) if take_gold_out else []
        with process.store.reading() as connection:
            state = people_state(process, connection, found, managers=True)
    if as_json:
        print_json({"done": said, **asdict(state)})
        return
    for sentence in (*said, *lines_of(state)):
        click.echo(sentence)


def read_known(file: Path) -> dict[str, tuple[str, ...]]:
    """Known answers by task, from a CSV file (task,label); several rows of a task are several labels. Raises DataError."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as content:
            rows = csv.DictReader(content)
            if not {"task", "label"} <= set(rows.fieldnames or ()):
                raise DataError(f"{file}: its first line must name the columns task and label")
            known: dict[str, tuple[str, ...]] = {}
            for row in rows:
                task, label = (row["task"] or "").strip(), (row["label"] or "").strip()
                if not task or not label:
                    raise DataError(f"{file}, line {rows.line_num}: a task and its label are both needed")
                known[task] = tuple(dict.fromkeys((*known.get(task, ()), label)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as a CSV file in UTF-8 ({error})") from error
    if not known:
        raise DataError(f"{file}: has no known answers; write a line for each, as 4711,label")
    return known


def lines_of(state: PeopleState) -> list[str]:
    """How well people answer, line by line."""
    lines = [*state.notes, *state.gold.sentences]
    lines += [
        f"  {row.name}: {row.wrong:,} of {row.n:,} wrong ({percent_range(row.low, row.high)}), {row.over:,} others called so"
        for row in state.gold.classes
        if row.n
    ]
    lines += state.agreement.sentences
    if state.agreement.alpha is not None:
        agreed = state.agreement
        limits = "" if agreed.alpha_low is None else f" ({agreed.alpha_low:.2f} to {agreed.alpha_high:.2f})"
        kappa = "" if agreed.kappa is None else f"; {str(agreed.kappa_kind).capitalize()}'s kappa {agreed.kappa:.2f}"
        lines.append(f"Beyond chance: Krippendorff's alpha {agreed.alpha:.2f}{limits}{kappa}.")
    lines += [row.sentence for row in state.anchoring]
    lines += [row.reading for row in state.rates if row.reading]
    lines += [
        f"Answered blind, {route_name(row.route)}: the model is right on {percent(row.right / row.n)} of {row.n:,}."
        for row in state.blind.routes
    ]
    lines += [
        f"{row.person}: {count(row.answers, 'answer')}" + (f", {row.wrong:,} of {row.gold:,} gold tasks wrong" if row.gold else "")
        for row in state.people
    ]
    return lines
