"""Every figure that the product guarantees, measured on this machine and printed as one table.

    .venv/bin/python tests/benchmarks/run.py [--only detection,fitting] [--data FOLDER] [--write]

FOLDER holds models and data in subfolders (see detection.py); without it those figures are left out and named. With --write the
tables in docs/scale.md get the figures of their themes that were measured, and README's the most telling rows of them; `make benchmark`
asks for it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import atlas
import barriers
import certificates
import detection
import diagnosis
import fitting
import growth
import guarantees
import inversion
import judging
import live
import loop
import map as map_page
import million
import overhead
import pages
import quality
import serving
import snapshots
import storing
import strangers
import streaming
import training
import two_replicas
import untriaged
from figure import Figure

THEMES = {
    "detection": detection.figures,
    "diagnosis": diagnosis.figures,
    "atlas": atlas.figures,
    "inversion": inversion.figures,
    "overhead": overhead.figures,
    "fitting": fitting.figures,
    "judging": judging.figures,
    "growth": growth.figures,
    "million": million.figures,
    "map": map_page.figures,
    "guarantees": guarantees.figures,
    "certificates": certificates.figures,
    "serving": serving.figures,
    "untriaged": untriaged.figures,
    "streaming": streaming.figures,
    "snapshots": snapshots.figures,
    "storing": storing.figures,
    "training": training.figures,
    "live": live.figures,
    "replicas": two_replicas.figures,
    "pages": pages.figures,
    "barriers": barriers.figures,
    "strangers": strangers.figures,
    "quality": quality.figures,
    "loop": loop.figures,
}


ROOT = Path(__file__).parents[2]
DOCS, README = ROOT / "docs" / "scale.md", ROOT / "README.md"
IN_DOCS = tuple(re.findall(r"<!-- figures of (\w+) -->", DOCS.read_text("utf-8")))  # the themes that have a table there
AT_A_GLANCE = {  # the rows of README: the theme, which of its rows, and in plain words what it says
    "a live stream of pictures, from the web until their predictions are there: share of bare onnxruntime's speed": ("streaming", 0),
    "a task opened before it was triaged, until Label Studio has its prediction: times fetching, decoding and the model": ("untriaged", 0),
    "judging, as a share of running a ResNet-18": ("judging", 4),
    "a million items against 100,000: time to triage them": ("million", 2),
    "a million items against 100,000: memory": ("million", 3),
    "storing a million verdicts with all that follows from them: times SQLite's plain insert": ("storing", 0),
}
_STATES = {True: "met", False: "**missed**", None: ""}


def names(theme: str) -> Sequence[str]:
    """What the rows of a theme are called, in their order."""
    return tuple(sys.modules[THEMES[theme].__module__].NAMES)


def write(theme: str, found: Sequence[Figure]) -> None:
    """Put the figures of a theme into its table in DOCS, in place of those that were there, and what README shows of them there."""
    head = f"{datetime.now(UTC):%d %B %Y}, {os.cpu_count()} cores, Python {sys.version.split()[0]}:\n"
    rows = ["| figure | wanted | measured | |", "| --- | --- | --- | --- |"]
    rows += [f"| {figure.name} | {figure.wanted} | {figure.measured} | {_STATES[figure.ok]} |" for figure in found]
    text = _put(DOCS.read_text("utf-8"), f"figures of {theme}", "\n".join([head, *rows, ""]))
    DOCS.write_text(text, "utf-8")
    README.write_text(_put(README.read_text("utf-8"), "figures at a glance", at_a_glance(text)), "utf-8")


def at_a_glance(docs: str) -> str:
    """README's table, out of those of DOCS."""
    rows = ["| figure | wanted | measured | |", "| --- | --- | --- | --- |"]
    for words, (theme, place) in AT_A_GLANCE.items():
        _, wanted, measured, state = _rows(docs, theme)[place]
        rows.append(f"| {words} | {wanted} | {measured} | {state} |")
    return "\n".join([*rows, ""])


def _rows(docs: str, theme: str) -> list[list[str]]:
    table = docs.split(f"<!-- figures of {theme} -->\n")[1].split(f"<!-- /figures of {theme} -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")][2:]


def _put(text: str, marker: str, content: str) -> str:
    begin, end = f"<!-- {marker} -->\n", f"<!-- /{marker} -->"
    return "".join([text.split(begin)[0], begin, content, end, text.split(end)[1]])


def main() -> int:
    """Print the table; 1 if a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(THEMES), help=f"some of {', '.join(THEMES)}, comma-separated")
    parser.add_argument("--data", type=Path, help="folder with data for detection, in subfolders")
    parser.add_argument("--write", action="store_true", help=f"write the figures of {', '.join(IN_DOCS)} into {DOCS.name}")
    given = parser.parse_args()
    chosen = given.only.split(",")
    if unknown := set(chosen) - set(THEMES):
        parser.error(f"--only {', '.join(sorted(unknown))}: the benchmarks are {', '.join(THEMES)}")
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
    print(f"{'figure':<100} {'wanted':<46} {'measured':<34} {'':<6} {'seconds':>7}")
    missed = 0
    for theme in chosen:
        started = time.perf_counter()
        found = []
        for figure in THEMES[theme](given.data):
            now = time.perf_counter()
            state = {True: "ok", False: "MISSED", None: "-"}[figure.ok]
            name = f"{theme}: {figure.name}"
            print(f"{name:<100} {figure.wanted:<46} {figure.measured:<34} {state:<6} {now - started:>7.1f}", flush=True)
            missed += figure.ok is False
            found.append(figure)
            started = now
        if given.write and theme in IN_DOCS:
            write(theme, found)
    print(f"\n{missed} missed" if missed else "\nall figures are met")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
