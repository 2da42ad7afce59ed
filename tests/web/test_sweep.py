"""Every page, the project's and the service's, in each theme and at some width: no barrier, no jump, nothing cut, nothing heavy.

All pages in all eight views, and reports, are what `tests/benchmarks/run.py --only barriers` goes through.
"""

from __future__ import annotations

import pytest
from page_sweep import COUNTING, HEIGHT, VIEWS, faults, pages_of

from annotriage.store import label_audits

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_barrier_jumps_is_cut_or_is_heavy(dashboard, open_page, barriers, theme):
    open_page.expected("404")
    with dashboard.process.store.writing() as connection:
        facts = {"items": 7_123, "sentences": ["None looks wrong."], "findings": {}, "notes": []}
        label_audits.keep_audit(connection, 1, facts, [])
    half = theme == "dark"
    paths = [*pages_of(dashboard, project="1", task="1"), "/projects/1/groups/new-class?name=stripes"]
    paths += [path for path in pages_of(dashboard, project="2") if "/projects/2" in path]
    page = open_page("about:blank", storage_state=dashboard.session(), color_scheme=theme)
    page.context.add_init_script(COUNTING)
    widths = [width for width, of in VIEWS if of == theme]
    found = {}
    for place, path in enumerate([*paths, "/nowhere"]):
        page.set_viewport_size({"width": widths[(place + 2 * half) % len(widths)], "height": HEIGHT})
        found[path] = faults(page, dashboard.url + path, barriers)
    assert {path: lines for path, lines in found.items() if lines} == {}
    assert len(found) > 30
