"""`annotriage atlas --graph` on real digits, and people following paths through it in a browser."""

from __future__ import annotations

import json

import numpy as np
import pytest
from browsers import pixels
from click.testing import CliRunner

from annotriage import atlas_to_folder
from annotriage.cli import main
from annotriage.errors import SettingError
from annotriage.report.graph_chart import GraphView
from annotriage.report.graph_page import view_of, write_graph


@pytest.fixture(scope="module")
def drawn(convolutional_reference, digits, tmp_path_factory):
    """graph.html of 3 beside 5, and the graph."""
    from annotriage import attribution_graph

    found = attribution_graph(convolutional_reference, digits.train, "3", "5")
    file = tmp_path_factory.mktemp("graph") / "graph.html"
    write_graph(found, file)
    return file, found


def test_a_view_is_the_same_after_it_was_kept_as_plain_values(drawn):
    from dataclasses import asdict

    view, pieces = view_of(drawn[1])
    assert GraphView.of(json.loads(json.dumps(asdict(view)))) == view
    assert {patch.piece for node in view.nodes for patch in node.patches} - {""} == set(pieces)
    assert {node.of for node in view.nodes} == {"one", "both", "other"}


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_people_follow_the_paths_through_a_channel(drawn, open_page, barriers, theme):
    page = open_page(drawn[0].as_uri())
    if theme == "dark":
        page.get_by_role("button", name="Change to dark").click()
    view, _ = view_of(drawn[1])
    vertices = page.locator(".g-vertex")
    assert vertices.count() == len(view.nodes)
    line = next(line for line in view.lines if line.start.startswith("0-"))
    middle = page.locator(f'[data-key="{line.end}"]')
    middle.click()
    on_path = page.locator(".g-vertex.on-path").evaluate_all("found => found.map((vertex) => vertex.dataset.key)")
    before = {other.start for other in view.lines if other.end == line.end}
    behind = {other.end for other in view.lines if other.start == line.end}
    assert set(on_path) == {line.end} | before | behind
    assert middle.get_attribute("aria-pressed") == "true"
    assert pixels(page.locator(f'[data-panel="{line.end}"] img').first) > [0, 0]
    assert f"{len(on_path)} channels lie on paths through it" in page.locator("#graph-said").inner_text()
    assert barriers(page) == []
    page.keyboard.press("Escape")
    assert page.locator("svg.isolated").count() == 0
    vertices.first.focus()
    page.keyboard.press("Enter")
    assert page.locator("svg.isolated").count() == 1
    page.get_by_role("button", name="Show all paths").click()
    assert page.locator("svg.isolated").count() == 0


@pytest.mark.browser
def test_what_two_classes_share_stands_out(drawn, open_page):
    page = open_page(drawn[0].as_uri())
    view, _ = view_of(drawn[1])
    page.get_by_label("only what both share").check()
    clear = page.locator(".g-vertex").evaluate_all(
        "found => found.filter((vertex) => getComputedStyle(vertex).opacity === '1').map((vertex) => vertex.dataset.key)"
    )
    assert set(clear) == {node.key for node in view.nodes if node.of == "both"}
    rows = page.locator("#table tbody tr")
    assert rows.count() == len(view.nodes)
    assert "–" not in rows.nth([node.of for node in view.nodes].index("both")).locator("td.figure").all_inner_texts()


def test_the_command_draws_the_graph_beside_the_atlas(digits_reference, digits, tmp_path):
    digits_reference.save(tmp_path / "reference")
    np.savez(tmp_path / "data.npz", x=digits.train[0], y=digits.train[1])
    words = ["--reference", str(tmp_path / "reference"), "--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "out"), "--quiet"]
    done = CliRunner().invoke(main, ["atlas", *words, "--graph", "3", "--against", "5", "--json"])
    assert done.exit_code == 0, done.output
    assert [one["name"] for one in json.loads(done.stdout)["graph"]["classes"]] == ["3", "5"]
    assert "Attribution graph of 3 and 5" in (tmp_path / "out" / "graph.html").read_text()
    wrong = CliRunner().invoke(main, ["atlas", *words, "--replace", "--graph", "nine"])
    assert wrong.exit_code == 1
    assert "class 'nine' is none of the model's" in wrong.output


def test_a_class_to_set_against_needs_one(digits_reference, digits, tmp_path):
    with pytest.raises(SettingError, match="no graph to set '5' against"):
        atlas_to_folder(digits_reference, digits.train, tmp_path / "out", against="5")
