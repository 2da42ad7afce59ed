"""Every page in both themes at four widths, and the reports that are made of real digits: no barrier, no jump, nothing cut or heavy.

    .venv/bin/python tests/benchmarks/run.py --only barriers

Takes a few minutes; without a browser, or without npm (which fetches axe-core), it says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from figure import Figure

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

WANTED = "no fault in 8 views"
TRAINED_EPOCHS = 5


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    npm = shutil.which("npm")
    if chromium is None or npm is None:
        yield Figure("pages", WANTED, f"no {'browser' if chromium is None else 'npm'}", None)
        return
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        program = _axe(npm, folder)
        dashboard, reports = _made(folder)
        from browsers import CHROMIUM_OPTIONS

        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_OPTIONS))
        try:
            yield from _swept(browser, dashboard, reports, program)
        finally:
            browser.close()
            dashboard.stop()


def _swept(browser: Any, dashboard: Any, reports: list[Path], program: str) -> Iterator[Figure]:
    from page_sweep import COUNTING, HEIGHT, VIEWS, faults, pages_of
    from waiting import PATIENCE

    parts = ({"project": "1", "task": "1"}, {"project": "2"})
    paths = list(dict.fromkeys(path for given in parts for path in pages_of(dashboard, **given)))
    addresses = {path: dashboard.url + path for path in [*paths, "/projects/1/groups/new-class?name=stripes", "/nowhere"]}
    addresses |= {report.name: report.as_uri() for report in reports}
    found: dict[str, list[str]] = {name: [] for name in addresses}
    for width, theme in VIEWS:
        context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=theme, storage_state=dashboard.session())
        context.add_init_script(COUNTING)
        context.set_default_timeout(1_000 * PATIENCE)
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        for name, address in addresses.items():
            said.clear()
            lines = faults(page, address, _barriers(program))
            lines += [line for line in said if "404" not in line]
            found[name] += [f"{width} {theme}: {line}" for line in lines]
        context.close()
    for name, lines in found.items():
        for line in lines:
            print(f"    {name}: {line[:400]}", file=sys.stderr)
        yield Figure(f"page {name}", WANTED, f"{len(lines)} faults" if lines else "none", not lines)


def _barriers(program: str) -> Callable[[Any], list[str]]:
    def barriers(page: Any) -> list[str]:
        page.evaluate(program)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        return [f"{one['id']}: {json.dumps(node['target'])} {node['failureSummary']}" for one in found for node in one["nodes"]]

    return barriers


def _axe(npm: str, folder: Path) -> str:
    from browsers import AXE

    command = [npm, "install", "--prefix", str(folder / "axe"), "--no-audit", "--no-fund", AXE]
    subprocess.run(command, capture_output=True, check=True, timeout=300)
    return (folder / "axe" / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def _made(folder: Path) -> tuple[Any, list[Path]]:
    """A dashboard with a map, an audit, a comparison of versions and a trained model; and files that it makes."""
    import dashboards
    import numpy as np

    from annotriage.demo.digits import load_digits, write_digits
    from annotriage.engine.fitting import fit
    from annotriage.service.judging.versions import ask_comparison
    from annotriage.service.maps.map_making import MapMaking
    from annotriage.service.operations.jobs import TRAINING_KINDS, run_queued
    from annotriage.settings import Settings
    from annotriage.store import jobs, reports, trainings
    from annotriage.store.files import pieces_of
    from annotriage.store.projects import change_project, project_of

    digits = load_digits()
    named = {part: (images, labels.astype(str)) for part, (images, labels) in vars(digits).items() if isinstance(images, np.ndarray)}
    spec = write_digits(folder / "digits").spec
    reference = fit(spec, named["train"], named["held_out"], settings=Settings(max_error=0.03, map="pca"), name="digits")
    few = tuple(part[:40] for part in named["held_out"])
    unsure = fit(spec, named["train"], few, settings=Settings(max_error=0.03, map="pca"), name="few held out")
    database = f"sqlite:///{folder}/store.db"
    tool = dashboards.build(database, SimpleNamespace(incoming=named["incoming"], strangers=named["unseen"]), reference, unsure)
    np.savez(folder / "train.npz", x=named["train"][0], y=named["train"][1])
    service = dashboards.Service(database, tool)
    store = service.process.store
    with store.writing() as connection:
        project = project_of(connection, "1")
        change_project(connection, project.id, options=project.options.__dict__ | {"training_data": str(folder / "train.npz")})
        training = {"epochs": TRAINED_EPOCHS, "perplexity": "off", "whole": False, "by": "Ann"}
        jobs.queue(connection, project.id, jobs.TRAINING, training)
    run_queued(service.process, TRAINING_KINDS)
    with store.writing() as connection:
        trained = trainings.latest_trained(connection, project.id)
        if trained is not None:
            ask_comparison(connection, project, project.reference_id, trained.reference_id, "Ann")
        jobs.queue(connection, project.id, jobs.LABEL_AUDIT)
        jobs.queue(connection, project.id, reports.REPORT, {"dataset": 1})
        jobs.queue(connection, project.id, reports.ATLAS, {"dataset": 1})
    while run_queued(service.process):
        pass
    making = MapMaking(service.process)
    while making.step(project):
        pass
    files = []
    with store.reading() as connection:
        kept = {kind: reports.report_of(connection, 1, kind) for kind in (reports.REPORT, reports.ATLAS)}
        ids = {f"{kind}.html": found.stored_file_id for kind, found in kept.items() if found is not None}
        if trained is not None and trained.stored_file_id is not None:
            ids["training.html"] = trained.stored_file_id
        for name, id in ids.items():
            (folder / name).write_bytes(b"".join(pieces_of(connection, id)))
            files.append(folder / name)
    service.close()
    return dashboards.Dashboard(database, tool), files
