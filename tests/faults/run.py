"""Storms for hours: `python tests/faults/run.py --hours 2 --seed 7 --database postgresql`.

At the end two tables, and exit status 1 if anything was lost, doubled, or did not become sound again.

Each storm is drawn from a printed seed: the same seed draws the same storms, tasks and moments, as far as the machine keeps them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "backend"), str(ROOT / "plugin")]
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "backend"), str(ROOT / "plugin"), os.environ.get("PYTHONPATH", "")])
os.environ.setdefault("OMP_NUM_THREADS", "1")

import postgresql  # noqa: E402, found by the paths above
from fake_label_studio import FakeLabelStudio  # noqa: E402
from label_studio import OwnLabelStudio, Person  # noqa: E402
from storm_digits import digits_site  # noqa: E402
from storm_site import Studio  # noqa: E402
from storms import STORMS, Outcome, Storm, run  # noqa: E402
from storms_table import table, table_of_killed  # noqa: E402

from annotriage_label_studio.demo.server import serving  # noqa: E402

TMPFS_MB = 192  # of the disk that is filled


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever runs is ended, and the table printed
    seed = Random().randrange(10**6) if arguments.seed is None else arguments.seed
    storms = [
        storm
        for storm in STORMS
        if storm.only in ("", arguments.database)
        and storm.studio in ("", arguments.label_studio)
        and any(part in storm.name for part in arguments.only.split(","))
    ]
    print(f"seed {seed}, {arguments.database}, Label Studio: {arguments.label_studio}; {len(storms)} kinds of storms", flush=True)
    rng, outcomes = Random(seed), list[Outcome]()
    end = time.monotonic() + 3600 * arguments.hours
    with ExitStack() as stack:
        folder = stack.enter_context(_disk(Path(tempfile.mkdtemp(prefix="annotriage-faults-"))))
        studio = stack.enter_context(_studio(arguments.label_studio))
        site = stack.enter_context(digits_site(folder, studio, rng, _database(stack, arguments.database)))
        stack.enter_context(suppress(KeyboardInterrupt))
        while time.monotonic() < end and len(outcomes) < (arguments.storms or 10**9):
            storm = _next(storms, outcomes, rng)
            outcome = run(site, storm, rng)
            outcomes.append(outcome)
            print(f"{time.strftime('%H:%M:%S')} {len(outcomes):4} {outcome.line}", flush=True)
            if outcome.failure:
                print(outcome.failure, flush=True)
                kept = Path(tempfile.gettempdir()) / f"annotriage-faults-{seed}-{len(outcomes)}.log"
                kept.write_bytes(site.service.log.read_bytes())
                print(f"the service's log: {kept}", flush=True)
                site.begin_anew()
    print(f"{table(outcomes)}\n\n{table_of_killed(outcomes)}")
    return int(any(outcome.failure for outcome in outcomes))


def _next(storms: list[Storm], outcomes: list[Outcome], rng: Random) -> Storm:
    """Each once at first, then at random."""
    return storms[len(outcomes)] if len(outcomes) < len(storms) else rng.choice(storms)


@contextmanager
def _disk(folder: Path) -> Iterator[Path]:
    """A small file system of its own, which can be filled; where that may not be made, the folder itself."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "none", folder], capture_output=True).returncode == 0
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _studio(kind: str) -> Iterator[Studio]:
    if kind == "fake":
        with FakeLabelStudio().started() as studio:
            yield studio
        return
    executable = ROOT / ".venv-label-studio" / "bin" / "label-studio"
    with (
        tempfile.TemporaryDirectory(prefix="annotriage-label-studio-") as name,
        serving(executable, folder := Path(name)) as server,
    ):
        person = Person(server.url, server.email, server.password)
        yield OwnLabelStudio(server.url, server.token, person, executable=executable, folder=folder)


def _database(stack: ExitStack, kind: str) -> postgresql.Running | None:
    if kind == "sqlite":
        return None
    programs = postgresql.programs()
    if programs is None:
        raise SystemExit("no PostgreSQL: install the package `postgresql`")
    return stack.enter_context(postgresql.running(programs))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--storms", type=int, help="end after so many")
    parser.add_argument("--seed", type=int, help="drawn and printed if not given")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--label-studio", choices=("fake", "real"), default="fake")
    parser.add_argument("--only", default="", help="storms whose name holds this, or one of these, comma-separated")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
