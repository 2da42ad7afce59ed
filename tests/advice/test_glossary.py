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


def linked():
    """What the pages link to the glossary: words, and routes by their names."""
    sources = [page.read_text("utf-8") for page in (PACKAGE / "web/templates").glob("*.html")]
    words = {word for source in sources for word in re.findall(r'\bterm\("([^"]+)"', source)}
    return words | (set(ROUTE_NAMES.values()) if any("{{ route_term(name) }}" in source for source in sources) else set())


def test_every_word_that_a_page_links_is_explained():
    for word in linked():
        assert term_of(word).meaning


def test_every_word_of_the_glossary_is_linked_from_a_page():
    assert {term.name for term in GLOSSARY} - {term_of(word).name for word in linked()} == set()


def test_a_word_that_nobody_explains_is_refused():
    with pytest.raises(KeyError):
        term_of("eigenvalue")
