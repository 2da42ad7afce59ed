"""Makes the picture of the dashboard in the README: real digits through the real steps, two scanners, a map; then photographs it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

import dashboards  # noqa: E402
from browsers import CHROMIUM_OPTIONS  # noqa: E402

from annotriage.demo.digits import load_digits, write_digits  # noqa: E402
from annotriage.engine.fitting import fit  # noqa: E402
from annotriage.service.maps.map_making import MapMaking  # noqa: E402
from annotriage.settings import Settings  # noqa: E402
from annotriage.store.projects import project_of  # noqa: E402

PAGES = {"dashboard.png": "/"}


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no browser: install the package `chromium`")
    with tempfile.TemporaryDirectory() as folder:
        dashboard = _dashboard(Path(folder))
        try:
            _photograph(dashboard, chromium)
        finally:
            dashboard.stop()


def _dashboard(folder: Path) -> dashboards.Dashboard:
    digits = load_digits()
    spec = write_digits(folder / "digits").spec
    reference = fit(spec, _named(digits.train), _named(digits.held_out), settings=Settings(max_error=0.03), name="digits")
    parts = SimpleNamespace(incoming=_named(digits.incoming), strangers=_named(digits.unseen))
    database = f"sqlite:///{folder}/store.db"
    tool = dashboards.build(database, parts, reference)
    service = dashboards.Service(database, tool)
    with service.process.store.reading() as connection:
        project = project_of(connection, "1")
    making = MapMaking(service.process)
    while making.step(project):
        pass
    service.settle()  # the labeling tool was read just now, however long the map took
    service.close()
    return dashboards.Dashboard(database, tool)


def _named(part):
    images, labels = part
    return images, labels.astype(str)


def _photograph(dashboard: dashboards.Dashboard, chromium: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_OPTIONS))
        page = browser.new_page(viewport={"width": 1280, "height": 760}, storage_state=dashboard.session())
        for name, path in PAGES.items():
            page.goto(dashboard.url + path)
            page.wait_for_timeout(1500)
            page.screenshot(path=HERE / name)
        browser.close()


if __name__ == "__main__":
    main()
