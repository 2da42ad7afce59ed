"""report.html: what it claims, that it is one file, and that nothing in the data can break out of it."""

from __future__ import annotations

import errno
import resource
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from annotriage.errors import OutputError
from annotriage.report import WAITING_SHOWN, write_report


class Page(HTMLParser):
    """The text that a person reads, the tags, and every attribute that could fetch something."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data", "poster")]
        if tag in ("script", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.open.pop()

    def handle_data(self, data):
        if not self.open:
            self.words.append(data)


@pytest.fixture
def write(tmp_path):
    def write(report) -> Page:
        path = tmp_path / "report.html"
        write_report(report, path)
        return Page(path)

    return write


def test_the_headline_says_share_interval_excess_and_chance(write, sample_report):
    text = write(sample_report).text
    assert sample_report.diversity.sentence in text
    assert "10.2 % outliers: 51 of 500 scored items" in text
    assert "95 % interval of their source: 7.7 to 13.2 %" in text
    assert "+5.2 points" in text
    assert "p < 0.0001" in text


def test_every_route_has_its_count_and_its_meaning(write, sample_report):
    text = write(sample_report).text
    assert "The model labels 395 of 500 items (79 %); 105 items go to a person." in text
    for words in ("auto 395", "uncertain 54", "outlier 51", "failed 0", "without seeing the model’s guess"):
        assert words in text


def test_every_piece_of_advice_comes_with_reason_and_what_would_decide(write, sample_report):
    text = write(sample_report).text
    for advice in sample_report.advice:
        assert advice.title in text
        assert advice.headline in text
        assert advice.reason in text
        assert advice.would_decide in text


def test_a_class_above_the_limit_is_warned_of(write, sample_report):
    assert "1 class has an upper bound above the limit" in write(sample_report).text


def test_a_missing_promise_says_how_many_held_out_items_are_missing(write, samples, sample_report):
    text = write(replace(sample_report, promise=samples.promise(63, 1, auto=False))).text
    assert "Automatic labels are off" in text
    assert "123 labelled held-out items missing : 186 needed, 63 there." in text


def test_groups_say_how_many_outliers_they_hold(write, sample_report):
    text = write(sample_report).text
    assert f"{sample_report.groups[0].size} of 51 outliers are one group; 2 groups in all." in text


def test_every_waiting_item_is_listed_with_its_reason(write, sample_report):
    text = write(sample_report).text
    for waiting in sample_report.waiting:
        assert waiting.verdict.id in text
        assert waiting.verdict.reason in text


def test_nothing_is_fetched_from_anywhere(write, sample_report, tmp_path):
    page = write(sample_report)
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)
    assert not {"link", "iframe", "base", "object"} & set(page.tags)
    html = unescape((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "default-src 'none'" in html
    assert not [far for far in ("@import", "url(", "http://", "https://") if far in html]


def test_hostile_names_are_text(write, samples, sample_report):
    usual, hostile = write(sample_report), write(samples.hostile_report())
    assert hostile.tags.count("script") == usual.tags.count("script")
    assert samples.HOSTILE in hostile.text
    assert "bad-\\udcff-name" in hostile.text


def test_everything_failed_says_so_and_why(write, samples):
    text = write(samples.failed_report()).text
    assert "None of the 3 items could be scored" in text
    assert "The file is no picture" in text
    assert "There is no map. It takes at least 4 scored items" in text
    assert "Uncalibrated." in text
    assert "nan" not in text.lower().split()


def test_no_items_at_all_is_a_page_too(write, samples):
    text = write(replace(samples.failed_report(), counts={}, waiting=(), waiting_total=0)).text
    assert "There were no items. Check the path given to --data." in text


def test_three_items_ask_for_more(write, samples):
    assert "With 3 items the interval is wide" in write(samples.digits_report(300, 3)).text


def test_uncalibrated_figures_are_not_shown_as_if_they_were_known(write, sample_report):
    nan = float("nan")
    clusters = tuple(
        replace(cluster, p_value=nan, held_out=0, held_out_outliers=0, mix_change=nan) for cluster in sample_report.diversity.clusters
    )
    diversity = replace(
        sample_report.diversity, calibrated=False, expected=nan, expected_low=nan, expected_high=nan, excess=nan, excess_low=nan,
        excess_high=nan, p_value=nan, held_out=0, rank_sum_p=None, mmd_p=None, mmd=None, clusters=clusters,
    )  # fmt: skip
    text = write(replace(sample_report, diversity=diversity)).text
    assert "Uncalibrated." in text
    assert "Expected of normal data" not in text
    assert "nan" not in text


def test_a_hundred_thousand_items_list_a_thousand_and_say_where_the_rest_is(write, samples, tmp_path):
    report = samples.huge_report()
    waiting = (list(report.waiting) * 3)[:2_500]
    text = write(replace(report, waiting=waiting)).text
    assert "39,000 items go to a person" in text
    assert "The first 1,000 are listed; 38,000 more are in verdicts.csv." in text
    assert (tmp_path / "report.html").read_text().count("<tr data-route") == WAITING_SHOWN


def test_twenty_thousand_points_with_thumbnails_stay_below_40_megabytes(write, samples, tmp_path):
    report = samples.huge_report()
    thumbnail = bytes(1_000)
    write(replace(report, drawn=[replace(point, thumbnail=thumbnail) for point in report.drawn]))
    assert (tmp_path / "report.html").stat().st_size < 40e6


def test_a_report_that_cannot_be_written_leaves_the_old_one_and_no_rubbish(sample_report, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("the old one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"report\.html: the report could not be written \(File too large\)"):
            write_report(sample_report, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_says_what_to_do(sample_report, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="Free some space"):
        write_report(sample_report, tmp_path / "report.html")


def test_a_missing_folder_says_what_to_do(sample_report, tmp_path):
    with pytest.raises(OutputError, match="Create the folder"):
        write_report(sample_report, tmp_path / "nowhere" / "report.html")
