"""The words of the pages, explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import annotriage
from annotriage.advice.glossary import GLOSSARY, term_of
from annotriage.advice.route_words import ROUTE_MEANINGS, ROUTE_NAMES, route_name
from annotriage.states import ROUTES

PACKAGE = Path(annotriage.__file__).parent


def test_every_route_has_a_name_a_meaning_and_an_entry():
    assert list(ROUTE_NAMES) == list(ROUTE_MEANINGS) == list(ROUTES)
    assert all(term_of(name).name == name for name in ROUTE_NAMES.values())
    assert (route_name("outlier"), route_name("spot check"), route_name(None)) == ("strange", "spot check", "not judged yet")


def test_scripts_call_the_routes_as_sentences_do():
    source = (PACKAGE / "report/static/markers.js").read_text("utf-8")
    named = dict(re.findall(r'(\w+): "(\w+)"', re.search(r"KIND_NAMES = {(.*?)}", source).group(1)))
    assert named == {"training": "training"} | {str(route): name for route, name in ROUTE_NAMES.items()}


def test_no_word_is_explained_twice():
    words = [word for term in GLOSSARY for word in (term.name, *term.also)]
    assert len(words) == len(set(words))


def test_every_word_that_a_page_links_is_explained():
    linked = [
        word for page in (PACKAGE / "web/templates").glob("*.html") for word in re.findall(r'term\("([^"]+)"', page.read_text("utf-8"))
    ]
    assert len(linked) > 15
    for word in linked:
        assert term_of(word).meaning


def test_a_word_that_nobody_explains_is_refused():
    with pytest.raises(KeyError):
        term_of("eigenvalue")
