"""The story of diversity: the published experiment on digits, by four methods, in one page."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from annotriage.advice.published_advice import WHY_OURS_DIFFERS
from annotriage.demo.story import diversity_story
from annotriage.demo.story_digits import CLASSES, story_digits
from annotriage.report.diversity_story import METHODS, story_text

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("story")


@pytest.fixture(scope="module")
def story(folder):
    return diversity_story(folder, lambda _: None)


@pytest.fixture(scope="module")
def facts(story, folder):
    return json.loads((folder / "diversity" / "story.json").read_text("utf-8"))


def answers(level, method):
    return {question: part["answer"] for question, part in level["methods"][method]["advice"].items()}


def test_five_classes_of_100_images_and_500_incoming_ones_at_three_levels():
    digits = story_digits()
    assert dict(zip(*np.unique(digits.train[1], return_counts=True), strict=True)) == dict.fromkeys(CLASSES, 100)
    assert [len(level.images) for level in digits.levels] == [500, 500, 500]
    assert len(digits.held_out[0]) == 264
    seen = {image.tobytes() for image in digits.train[0]} | {image.tobytes() for image in digits.held_out[0]}
    assert not seen & {image.tobytes() for image in digits.levels[0].images}
    assert (digits.levels[2].labels == "").sum() == 450


def test_every_method_says_low_middle_high(facts):
    for place, method in enumerate(METHODS):
        scores = [level["methods"][place]["diversity"] for level in facts["levels"]]
        assert scores == sorted(scores), method
        intervals = [(level["methods"][place]["low"], level["methods"][place]["high"]) for level in facts["levels"]]
        assert all(former[1] < later[0] for former, later in itertools.pairwise(intervals)), method
        assert all(
            level["methods"][place]["similarity"] == pytest.approx(1 - score) for level, score in zip(facts["levels"], scores, strict=True)
        )


def test_the_published_advice_is_the_reverse_on_the_two_ends(facts):
    low, _, high = facts["levels"]
    assert answers(low, 0) == {"train": "no", "deploy": "yes", "augmentation": "no", "annotate": "machine"}
    assert answers(high, 0) == {"train": "yes", "deploy": "no", "augmentation": "yes", "annotate": "people"}


def test_ours_asks_a_person_where_the_published_rule_says_train(facts):
    low, middle, high = (answers(level, -1) for level in facts["levels"])
    assert low == {"train": "no", "deploy": "yes", "augmentation": "no", "annotate": "mixed"}
    assert middle == {"train": "yes", "deploy": "no", "augmentation": "yes", "annotate": "mixed"}
    assert high == {"train": "undecided", "deploy": "no", "augmentation": "no", "annotate": "people"}
    assert facts["levels"][2]["accuracy"] < 0.2  # and deploying there would indeed be wrong


def test_the_figures_of_the_readme_are_those_of_the_story(facts):
    """t-SNE moves a little with the processor, so each figure has some room."""
    (rows,) = re.findall(r"<!-- story -->\n.*?\n.*?\n(.*?)\n<!-- /story -->", README, re.DOTALL)
    stated = [[float(figure) for figure in re.findall(r"([\d.]+)%", row)] for row in rows.splitlines()]
    measured = [[100 * level["methods"][place]["diversity"] for level in facts["levels"]] for place in range(len(METHODS))]
    assert np.array(stated) == pytest.approx(np.array(measured), abs=4)


def test_the_page_shows_three_graphs_whose_points_show_their_images(story, folder, open_page, barriers):
    page = open_page((folder / "diversity" / "story.html").as_uri())
    graphs = page.locator(".story-graph")
    assert graphs.count() == 3
    graphs.nth(2).focus()
    page.keyboard.press("ArrowRight")
    words = page.locator("#seen-2 .story-words")
    first = words.text_content()
    assert first.startswith("incoming, ")
    assert page.locator("#seen-2 .story-picture").is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert words.text_content() == first
    graphs.nth(0).click()
    assert re.match("training|incoming", page.locator("#seen-0 .story-words").text_content())
    assert WHY_OURS_DIFFERS in page.locator("main").inner_text()
    assert barriers(page) == []


def test_the_terminal_shows_the_same_figures(story):
    text = story_text(story)
    assert [line.split("  ")[0] for line in text.splitlines()[1:5]] == list(METHODS)
    assert "a person first" in text
