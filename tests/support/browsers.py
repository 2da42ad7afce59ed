"""A real browser for tests: pages that fail the test if they complain or fetch from elsewhere; axe-core, which looks for barriers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from waiting import PATIENCE

CHROMIUM_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the first draws no windows of its own
AXE = "axe-core@4.10"


def missing(what):
    """Skip; in continuous integration nothing may be lacking."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} (and CI is set: nothing may be skipped)", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser():
    """The installed Chromium; tests that ask for it are skipped where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing("no browser: install the package `chromium-headless-shell`, or `chromium`")
    playwright = pytest.importorskip("playwright.sync_api", reason="install the package `playwright`").sync_playwright().start()
    chromium = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_OPTIONS), timeout=1000 * PATIENCE)
    yield chromium
    chromium.close()
    playwright.stop()


@pytest.fixture
def open_page(browser):
    """Open a file or an address in a fresh page; the test fails if anything was written to the console or could not be fetched.

    `open_page.expected(text)`: a complaint with this text in it is what the test wants.
    """
    contexts, troubles, expected = [], [], []

    def open_page(address: str, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"{message.text} ({message.location['url'][:200]})"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"{request.url[:200]} failed: {request.failure}"))
        page.goto(address)
        return page

    open_page.expected = expected.append
    yield open_page
    for context in contexts:
        context.close()
    left = "net::ERR_ABORTED"  # asked for by a page that was left meanwhile
    unexpected = [trouble for trouble in troubles if left not in trouble and not any(text in trouble for text in expected)]
    assert unexpected == [], unexpected


def follow(page, control):
    """Click what leads to another page, and wait until that one is there."""
    with page.expect_navigation():
        control.click()


def text(page, selector="main"):
    """What stands there, once the page has come in whole: a click returns when the first bytes of the next one are there."""
    page.wait_for_load_state()
    return re.sub(r"\s+", " ", page.locator(selector).inner_text())


def is_cut(page, width):
    """Whether the page is wider than a screen of that width, which it then has."""
    page.set_viewport_size({"width": width, "height": 900})
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def pixels(picture):
    """[width, height] of a picture once it is there: those below the fold are fetched when they come into view."""
    picture.scroll_into_view_if_needed()
    return picture.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])")


@pytest.fixture(scope="session")
def axe_source(tmp_path_factory):
    """The program of axe-core, out of a folder that npm made for these tests."""
    npm = shutil.which("npm")
    if npm is None:
        missing("no npm: install the package `npm`, with which axe-core is fetched")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", AXE]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE).stderr
    except subprocess.TimeoutExpired:  # a registry that neither answers nor refuses
        said = f"npm did not end within {2 * PATIENCE:g} s"
    program = Path(folder / "node_modules" / "axe-core" / "axe.min.js")
    if not program.exists():
        missing(f"axe-core cannot be fetched: {said.strip()[-300:]}")
    return program.read_text("utf-8")


@pytest.fixture
def barriers(axe_source):
    """What axe-core finds on a page, of whatever impact: one line each, with the element."""

    def barriers(page):
        page.evaluate(axe_source)  # past the page's policy, as a tester's own tool
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        return [
            f"{barrier['id']} ({barrier['impact']}): {json.dumps(node['target'])} {node['html'][:160]} {node['failureSummary'][:300]}"
            for barrier in found
            for node in barrier["nodes"]
        ]

    return barriers
