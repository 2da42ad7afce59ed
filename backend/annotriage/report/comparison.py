"""What `annotriage compare` found: for the terminal, and as comparison.html and comparison.json in a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from annotriage.advice.advice import Advice
from annotriage.advice.answer_words import badge_of
from annotriage.advice.numbers import percent, percent_range
from annotriage.advice.published_advice import WHY_OURS_DIFFERS
from annotriage.data import Source
from annotriage.engine.compare import Comparison, Row, compare
from annotriage.engine.folders import refuse_existing, whole_folder
from annotriage.engine.opinions import Opinion
from annotriage.engine.reference import Reference
from annotriage.guarantee.best_rule import ALL, RESAMPLES, Best
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.output import json_text

PAGE, FIGURES = "comparison.html", "comparison.json"
QUESTIONS = {"train": "train", "deploy": "deploy", "augmentation": "augment", "annotate": "annotate by machine"}


def compare_to_folder(reference: Reference, data: Source, out: Path | str, *, replace_existing: bool = False, **options: Any) -> Comparison:
    """As `annotriage.compare`, which takes the same options, with comparison.html and comparison.json in the folder `out`.

    Raises OutputError if the folder exists already (unless it holds a comparison that may be replaced) or cannot be written.
    """
    refuse_existing(Path(out), what="results", mark=FIGURES, replaceable=replace_existing)
    found = compare(reference, data, **options)
    with whole_folder(Path(out), what="results", mark=FIGURES, replaceable=replace_existing) as folder:
        write_comparison(found, folder / PAGE, reference.name)
        (folder / FIGURES).write_text(json_text(comparison_facts(found)), "utf-8", "backslashreplace")
    return found


def write_comparison(found: Comparison, path: Path, reference: str) -> None:
    """Write the page, whole or not at all. Raises OutputError if it cannot be written."""
    program = bundle("elements.js", "theme_button.js", "theme_alone.js")
    pieces = template("comparison.html").generate(
        found=found,
        reference=reference,
        best=[best_sentence(best, found) for best in found.best],
        tried_on=tried_on(found),
        why=WHY_OURS_DIFFERS,
        short=short_answer,
        name_of=name_of,
        limits=limits,
        questions=QUESTIONS,
        **frame(program),
    )
    write_page(pieces, path)


def comparison_facts(found: Comparison) -> dict[str, Any]:
    """All figures as plain values; the best rules by name, with the sentence of each."""
    facts = dataclasses.asdict(found)
    facts["best"] = [
        {**dataclasses.asdict(best), "rule": name_of(found.rows[best.rule]), "sentence": best_sentence(best, found)} for best in found.best
    ]
    return {**facts, "sure": found.sure, "why_ours_differs": WHY_OURS_DIFFERS}


def name_of(row: Row) -> str:
    """A rule by its score and its compression."""
    return f"{row.score} {row.compression}".rstrip()


def best_sentence(best: Best, found: Comparison) -> str:
    """Which rule is the best on a set, how sure that is, and what it gains over the one that decides now."""
    where = "Best here" if best.set == ALL and len(found.sets) < 2 else "Best over all sets" if best.set == ALL else f"Best on {best.set}"
    sentence = (
        f"{where}: {name_of(found.rows[best.rule])}, in {percent(best.sure)} of {RESAMPLES} random resamples of these items."
        f" Its AUROC is {best.auroc:.3f}, likely {best.low:.3f} to {best.high:.3f}."
    )
    if best.gain is None or best.gain_low is None or best.gain_high is None:
        return f"{sentence} It is the rule that decides now." if found.rows[best.rule].decides else sentence
    gain = (
        f"{sentence} That is {best.gain:.3f} more than the rule that decides now has, likely {best.gain_low:+.3f} to {best.gain_high:+.3f}"
    )
    return f"{gain}{', so no clear gain.' if best.gain_low <= 0 else '.'}"


def tried_on(found: Comparison) -> str:
    """What the figures rest on, in a sentence."""
    if not (found.known or found.foreign):
        told = "no labels: flag rates only"
    elif found.assumed_known:
        told = f"{found.known:,} of the data, taken as known, {found.foreign:,} foreign"
    else:
        told = f"{found.known:,} known, {found.foreign:,} foreign{' by their labels' if len(found.sets) < 2 else ''}"
    return (
        f"Fitted on {found.training:,} training items, thresholds from {found.held_out:,} held-out ones, tried on {found.items:,} ({told})."
    )


def comparison_text(found: Comparison) -> str:
    """The tables for the terminal, with a line on how to read them and one on how to act on them."""
    usual = "known" if found.known or found.foreign else "all"
    lines = [
        tried_on(found),
        f"Flagged: share above the conformal threshold (known items should be near {percent(found.alpha)}, foreign ones near 100%),",
        "then above mean + k sigma. * = the score that decides in this reference; -joint = the published method, offline only.",
        "",
        f"{'score':<22}{'compression':<13}{'AUROC':>7}{f'flagged: {usual}':>17}{'foreign':>9}"
        f"{f'sigma: {usual}':>15}{'foreign':>9}{'seconds':>9}",
    ]
    for row in found.rows:
        auroc = "" if row.auroc is None else f"{row.auroc:.4f}"
        name = f"{'*' if row.decides else ' '} {row.score}"
        rates = [row.known_flagged, row.foreign_flagged, row.known_beyond_sigma, row.foreign_beyond_sigma]
        texts = ["" if rate is None else f"{rate:.1%}" for rate in rates]
        lines.append(f"{name:<22}{row.compression:<13}{auroc:>7}{texts[0]:>17}{texts[1]:>9}{texts[2]:>15}{texts[3]:>9}{row.seconds:>9.2f}")
    if len(found.sets) > 1:
        lines += ["", *_table_of_sets(found)]
    lines += ["", *_table_of_opinions(found)]
    if found.best:
        lines += ["", *(best_sentence(best, found) for best in found.best)]
    best = found.rows[0]
    if best.auroc is not None and not best.decides and not best.compression.endswith("-joint"):
        compression = f" --compression {best.compression}" if best.compression else ""
        lines += [f"To decide by it: annotriage fit --score {best.score}{compression} (confirm it on data not chosen by)."]
    return "\n".join(lines)


def _table_of_sets(found: Comparison) -> list[str]:
    """AUROC of each rule on each foreign set."""
    names = list(found.sets)
    widths = [max(8, min(len(name), 20) + 2) for name in names]
    heads = "".join(f"{name[:20]:>{width}}" for name, width in zip(names, widths, strict=True))
    lines = [f"{'AUROC by foreign set':<35}{heads}"]
    for row in found.rows:
        values = ["" if on.auroc is None else f"{on.auroc:.4f}" for on in row.sets]
        cells = "".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
        lines.append(f"{'*' if row.decides else ' '} {name_of(row):<33}{cells}")
    return lines


def _table_of_opinions(found: Comparison) -> list[str]:
    """What each method says of each set as a whole, and why ours differs from the published one."""
    lines = [f"{'set':<20}{'method':<24}{'diversity':>10}{'likely range':>18}{'similarity':>12}  advice"]
    for opinion in found.opinions:
        said = ", ".join(f"{QUESTIONS[part.question]}: {short_answer(part)}" for part in opinion.advice)
        figures = f"{percent(opinion.diversity):>10}{limits(opinion):>18}{percent(opinion.similarity):>12}"
        lines.append(f"{opinion.set[:18]:<20}{opinion.method:<24}{figures}  {said}")
    if any(opinion.method.endswith("-joint") for opinion in found.opinions):
        lines.append(WHY_OURS_DIFFERS)
    return lines


def limits(opinion: Opinion) -> str:
    """The limits of a diversity score."""
    return percent_range(opinion.low, opinion.high)


def short_answer(advice: Advice) -> str:
    """A piece of advice in a word or two."""
    return badge_of(advice.answer, advice.headline)[0]
