"""A real browser for the end-to-end tests."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    """The installed Chromium; tests that ask for it are skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no browser: install the package `chromium`")
    playwright = pytest.importorskip("playwright.sync_api", reason="install the package `playwright`").sync_playwright().start()
    chromium = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_OPTIONS))
    yield chromium
    chromium.close()
    playwright.stop()


@pytest.fixture
def open_page(browser):
    """Open a file or an address in a fresh page; the test fails if anything was written to the console or fetched from elsewhere."""
    contexts, troubles = [], []

    def open_page(address: str, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"{request.url[:200]} failed"))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
