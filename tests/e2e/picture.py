"""Makes the picture in the README: runs the demo, opens its report, selects a damaged scan and photographs the page."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from annotriage.demo import run_offline
from annotriage.progress import bars
from annotriage.settings import Settings

OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)
HERE = Path(__file__).resolve().parent


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no browser: install the package `chromium`")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.chdir(folder)
        report = run_offline(Path(".demo"), print, bars, Settings()).resolve()
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(report.as_uri())
        page.get_by_role("button", name="Start with the strangest").click()
        page.locator("#map").scroll_into_view_if_needed()
        page.wait_for_timeout(300)
        page.screenshot(path=HERE / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
