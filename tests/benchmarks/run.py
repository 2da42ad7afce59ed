"""Every figure that the product guarantees, measured on this machine and printed as one table.

    .venv/bin/python tests/benchmarks/run.py [--only detection,fitting] [--data FOLDER]

FOLDER holds models and data in subfolders (see detection.py); without it those figures are left out and named.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
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
import live
import loop
import map as map_page
import overhead
import pages
import quality
import serving
import snapshots
import storing
import strangers
import training
import two_replicas

THEMES = {
    "detection": detection.figures,
    "diagnosis": diagnosis.figures,
    "atlas": atlas.figures,
    "inversion": inversion.figures,
    "overhead": overhead.figures,
    "fitting": fitting.figures,
    "growth": growth.figures,
    "map": map_page.figures,
    "guarantees": guarantees.figures,
    "certificates": certificates.figures,
    "serving": serving.figures,
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


def main() -> int:
    """Print the table; 1 if a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(THEMES), help=f"some of {', '.join(THEMES)}, comma-separated")
    parser.add_argument("--data", type=Path, help="folder with data for detection, in subfolders")
    given = parser.parse_args()
    chosen = given.only.split(",")
    if unknown := set(chosen) - set(THEMES):
        parser.error(f"--only {', '.join(sorted(unknown))}: the benchmarks are {', '.join(THEMES)}")
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
    print(f"{'figure':<100} {'wanted':<46} {'measured':<34} {'':<6} {'seconds':>7}")
    missed = 0
    for theme in chosen:
        started = time.perf_counter()
        for figure in THEMES[theme](given.data):
            now = time.perf_counter()
            state = {True: "ok", False: "MISSED", None: "-"}[figure.ok]
            name = f"{theme}: {figure.name}"
            print(f"{name:<100} {figure.wanted:<46} {figure.measured:<34} {state:<6} {now - started:>7.1f}", flush=True)
            missed += figure.ok is False
            started = now
    print(f"\n{missed} missed" if missed else "\nall figures are met")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
