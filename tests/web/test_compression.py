"""Pages travel compressed to whoever takes them so, and stay small."""

from __future__ import annotations

import gzip

import pytest

AUTH = ("annotriage", "right")
PAGES = ("overview", "map", "queue", "diversity", "groups", "guarantee", "compare", "settings", "items/1")
MOST = 60_000  # bytes of a page on its way


@pytest.fixture
def client(copied, serve_dashboard):
    return serve_dashboard(*copied, password=AUTH[1]).app.test_client()


def get(client, path, encoding="gzip", **headers):
    """An answer that was read to its end, so that the file it came from is closed."""
    return client.get(path, auth=AUTH, headers={"Accept": "text/html", "Accept-Encoding": encoding, **headers}, buffered=True)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_small_on_its_way(client, page):
    answer = get(client, f"/projects/1/{page}")
    assert (answer.status_code, answer.headers["Content-Encoding"]) == (200, "gzip")
    assert len(answer.data) < MOST
    assert gzip.decompress(answer.data).endswith(b"</html>")
    assert answer.content_length == len(answer.data)
    assert "Accept-Encoding" in answer.headers["Vary"]


def test_whoever_does_not_take_gzip_gets_the_page_as_it_is(client):
    answer = get(client, "/", encoding="identity")
    assert "Content-Encoding" not in answer.headers
    assert answer.data.endswith(b"</html>")


def test_scripts_and_data_are_compressed_and_pictures_are_not(client):
    assert get(client, "/static/map_page.js").headers["Content-Encoding"] == "gzip"
    assert get(client, "/overview.json").headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in get(client, "/projects/1/items/1/thumbnail").headers


def test_what_the_browser_holds_already_is_not_sent_again(client):
    tag = get(client, "/static/map_page.js").headers["ETag"]
    again = get(client, "/static/map_page.js", **{"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
