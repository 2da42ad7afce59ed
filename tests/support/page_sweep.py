"""Every page of a dashboard as people of any sight meet it: what axe-core finds, what jumps, what is cut, how much is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from waiting import PATIENCE

WIDTHS, THEMES = (390, 820, 1280, 1440), ("light", "dark")
VIEWS = tuple((width, theme) for width in WIDTHS for theme in THEMES)
LARGEST_SHIFT = 0.02
MOST_BYTES = 60_000  # of a page, compressed
HEIGHT = 900

# Counts from the first moment on how far the page jumps by itself.
COUNTING = """
window.jumped = 0;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.jumped += entry.value; })
  .observe({ type: "layout-shift", buffered: true });
"""
# Once pictures and scripts are done and what they changed has been drawn.
SETTLED = """async () => {
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const loading = [...document.images].filter((image) => image.loading !== "lazy" && !image.complete);
  const ended = (image) => new Promise((done) => { for (const end of ["load", "error"]) image.addEventListener(end, done); });
  await Promise.all(loading.map(ended));
  await document.fonts.ready;
  await drawn();
  await drawn();
  return [window.jumped, document.documentElement.scrollWidth > innerWidth];
}"""


# The program of a report that runs as late as it may on a slow machine: after the page was drawn for the first time.
LATE = "for (const _ of '123') await new Promise(requestAnimationFrame);\n"


def late_jump(browser, report: Path, width: int, theme: str) -> float:
    """How far a report jumps whose program runs once the page without it was drawn."""
    text = report.read_text("utf-8")
    start, end = text.rindex('<script type="module">') + len('<script type="module">'), text.rindex("</script>")
    late = report.with_name(f"late-{report.name}")
    late.write_text(f"{text[:start]}{LATE}{text[start:end]}\ndocument.body.setAttribute('data-ran', '');{text[end:]}", "utf-8")
    context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=theme, bypass_csp=True)
    try:
        context.add_init_script(COUNTING)
        context.set_default_timeout(1_000 * PATIENCE)
        page = context.new_page()
        page.goto(late.as_uri())
        page.locator("body[data-ran]").wait_for()
        return page.evaluate(SETTLED)[0]
    finally:
        context.close()
        late.unlink()


def pages_of(dashboard, **parts: str) -> Iterator[str]:
    """The addresses of all pages that a dashboard has. parts: of addresses, as project="1"."""
    client, auth = dashboard.app.test_client(), (dashboard.user, dashboard.password)
    adapter = dashboard.app.url_map.bind("localhost")
    for rule in dashboard.app.url_map.iter_rules():
        if rule.endpoint.startswith("web.") and "GET" in rule.methods and rule.arguments <= set(parts):
            path = adapter.build(rule.endpoint, {name: parts[name] for name in rule.arguments})
            answer = client.get(path, auth=auth, headers={"Accept": "text/html"})
            if answer.status_code == 200 and b"<main" in answer.data:
                yield path


def faults(page, address: str, barriers) -> list[str]:
    """Open an address in a page whose context counts jumps (`COUNTING`): what is amiss there, one line each. barriers: the fixture."""
    answer = page.goto(address)
    page.wait_for_load_state("load")
    if page.locator("#map-app[data-state]").count():  # the dashboard's map; a report draws its own at once
        page.locator("#map-app[data-ready]").wait_for()
    jumped, cut = page.evaluate(SETTLED)
    found = list(barriers(page))
    if jumped > LARGEST_SHIFT:
        found.append(f"jumps by {jumped:.3f}")
    if cut:
        found.append("is wider than the screen")
    size = 0 if answer is None or address.startswith("file:") else answer.request.sizes()["responseBodySize"]
    if size > MOST_BYTES:
        found.append(f"is {size:,} bytes large")
    return found
