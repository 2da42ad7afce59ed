"""report.html: what it claims, that it is one file, and that nothing in the data can break out of it."""

from __future__ import annotations

import errno
import resource
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from annotriage.advice.advice import PERSON_FIRST
from annotriage.advice.diversity_words import diversity_sentence
from annotriage.errors import OutputError
from annotriage.guarantee.gate import LimitEvidence
from annotriage.report.contents import Waiting
from annotriage.report.page import WAITING_SHOWN, write_report
from annotriage.states import Failure


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
    assert diversity_sentence(sample_report.diversity) in text
    assert "10.2% strange: 51 of 500 scored items" in text
    assert "likely range 7.7 to 13.2%" in text
    assert "5.2 points" in text
    assert "p < 0.0001" in text


def test_the_first_screen_says_in_plain_words_how_it_stands_and_what_to_do(write, sample_report):
    text = write(sample_report).text
    assert "About 1 in 10 new items is unlike anything the model was trained on. Normal data would give 1 in 20" in text
    largest = max(group.size for group in sample_report.groups)
    assert f"Next {largest} of the {sample_report.counts['outlier']} strange items that wait look alike" in text
    alone = write(replace(sample_report, groups=())).text
    assert f"Next {sample_report.waiting_total} items wait for people. Begin with the strangest." in alone
    assert "Next Nothing waits for people." in write(replace(sample_report, groups=(), waiting=(), waiting_total=0)).text


def test_every_route_has_its_count_and_its_meaning(write, sample_report):
    text = write(sample_report).text
    assert "395 of 500 items (79%) get an automatic label; 105 items go to a person." in text
    for words in ("automatic 395", "unsure 54", "strange 51", "unreadable 0", "in Label Studio the model’s guess is hidden"):
        assert words in text


def test_every_piece_of_advice_comes_with_reason_and_what_would_decide(write, sample_report):
    text = write(sample_report).text
    for advice in sample_report.advice:
        assert advice.title in text
        assert advice.headline.removeprefix(f"{advice.answer}: ")[1:] in text
        assert advice.reason in text
        assert advice.would_decide in text


@pytest.mark.parametrize(
    ("answer", "headline", "shown"),
    [
        ("yes", "yes: it fills gaps", "yes It fills gaps"),
        ("undecided", "cannot be said: not calibrated", "undecided Not calibrated"),
        ("people", "by people, for now", "no For now"),
        ("people", PERSON_FIRST, "a person first A new class or a broken source?"),
    ],
)
def test_the_headline_of_an_advice_does_not_repeat_its_badge(write, sample_report, answer, headline, shown):
    advice = replace(sample_report.advice[0], answer=answer, headline=headline)
    assert shown in write(replace(sample_report, advice=(advice,))).text


def test_a_class_more_often_wrong_than_the_limit_is_named(write, sample_report):
    rows = [replace(row, above_limit=row.name == "3") for row in sample_report.guarantee.classes]
    text = write(replace(sample_report, guarantee=replace(sample_report.guarantee, classes=tuple(rows)))).text
    assert "1 class is more often wrong than the limit: 3." in text


def test_upper_bounds_over_the_limit_are_not_called_below_it(write, sample_report):
    def told(*bounds):
        classes = tuple(
            replace(row, above_limit=False, bound=bound) for row, bound in zip(sample_report.guarantee.classes, bounds, strict=False)
        )
        return write(replace(sample_report, guarantee=replace(sample_report.guarantee, classes=classes))).text

    assert "No class is seen to exceed the limit; no single class is shown to keep it by itself either" in told(0.046, 0.082)
    assert "No class is seen to exceed the limit; 1 of the 2 rows below" in told(0.046, 0.015)
    assert "Every class is shown to keep the limit by itself" in told(0.012, 0.015)


def test_classes_without_an_automatic_item_show_no_bound(write, samples, sample_report):
    first, *others = sample_report.guarantee.classes
    empty = replace(first, name="rare", n=0, errors=0, bound=1.0, share=0.0)
    text = write(replace(sample_report, guarantee=replace(sample_report.guarantee, classes=(empty, *others)))).text
    assert "rare the model calls so 0% – – –" in text
    off = write(replace(sample_report, guarantee=samples.guarantee(63, 1, auto=False)))
    assert "Class by class" not in off.text


@pytest.mark.parametrize(
    ("attempt", "tested", "said"), [(1, 0.96, "96% calibration number 1: further"), (3, 0.99848, "99.85% calibration number 3: all")]
)
def test_the_confidence_of_the_test_is_explained_and_never_100_percent(write, sample_report, attempt, tested, said):
    guarantee = replace(sample_report.guarantee, attempt=attempt, tested_confidence=tested)
    text = write(replace(sample_report, guarantee=guarantee)).text
    assert f"{said} attempts at the same items" in text
    assert "the 5% of projects" in text
    assert f"upper bound, {said.split(' calibration')[0]} sure" in text


def test_a_missing_guarantee_says_how_many_held_out_items_are_missing(write, samples, sample_report):
    text = write(replace(sample_report, guarantee=samples.guarantee(63, 1, auto=False))).text
    assert "Automatic labels are off" in text
    assert "127 more labelled held-out items : about 190 in all are likely to be enough, 63 there." in text


def test_groups_say_how_many_outliers_they_hold(write, sample_report):
    text = write(sample_report).text
    assert f"{sample_report.groups[0].size} of 51 strange items are one group; 2 groups in all." in text


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


def test_everything_failed_with_a_calibrated_reference_invents_no_figure(write, samples):
    report = samples.failed_report()
    scored = replace(
        report.diversity, calibrated=True, held_out=400, expected=0.05, expected_low=0.03, expected_high=0.07, p_value=1.0, excess=-0.05
    )
    text = write(replace(report, diversity=scored)).text
    assert "– strange: 0 of 0 scored items" in text
    assert "No cluster was compared, because no item was scored." in text
    assert "No item was scored, so there is nothing to group." in text
    for invented in ("0% strange", "points", "By chance?", "often", "Expected of normal data", "likely range"):
        assert invented not in text


def test_the_most_frequent_reason_is_told_with_its_first_item(write, samples):
    broken = [samples.failed_verdict(f"{k}.png", Failure.UNREADABLE, f"{k}.png: is no image (it begins with {k})") for k in range(3)]
    waiting = [Waiting(samples.failed_verdict("gone.png", Failure.GONE, "gone.png: cannot be read")), *map(Waiting, broken)]
    report = replace(samples.failed_report(), waiting=waiting, counts={"failed": 4})
    said = "The most frequent reason (3 of the 4 listed): the file is no picture, or is damaged. The first: 0.png: is no image"
    assert said in write(report).text
    alone = replace(report, waiting=waiting[:1], counts={"failed": 1})
    assert "so nothing is known about this dataset. The reason: gone.png: cannot be read" in write(alone).text


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"auto": 1}, "1 of 1 item (100%) gets an automatic label."),
        ({"auto": 2, "uncertain": 1}, "2 of 3 items (67%) get an automatic label; 1 item goes to a person."),
        ({"outlier": 1}, "The only item goes to a person. "),
    ],
)
def test_one_item_is_said_in_the_singular(write, sample_report, counts, said):
    assert said in write(replace(sample_report, counts=counts)).text


def test_the_raw_score_that_orders_the_queue_is_listed(write, sample_report):
    verdict = sample_report.waiting[0].verdict
    assert f"{verdict.outlier_score:.3f} {verdict.score:.4g} {verdict.reason}" in write(sample_report).text


def test_trust_is_explained(write, sample_report):
    assert (
        "trust one number that sorts the queue: unreadable 0, strange below 1/3, unsure up to 2/3, automatic above"
        in write(sample_report).text
    )


def test_a_cluster_without_items_has_no_figures(write, sample_report):
    nan = float("nan")
    empty = replace(
        sample_report.diversity.clusters[0], name="empty", n=0, outliers=0, share=nan, low=0.0, high=1.0, p_value=nan, mix_change=nan
    )
    rest = replace(sample_report.diversity.clusters[1], high=0.3)
    text = write(replace(sample_report, diversity=replace(sample_report.diversity, clusters=(empty, rest)))).text
    assert "empty 0 0 – 6% – –" in text
    assert "0 to 40%; tick" in text, "the axis is not stretched by a cluster that nothing is known of"


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


def test_limits_of_classes_are_told_beside_those_of_the_others_and_a_stricter_gate_asks_for_a_recalibration(write, sample_report):
    own = LimitEvidence("cyst", 0.1, 1.2, 40, 1, None, 0.09)
    limited = replace(sample_report.guarantee, max_error_per="class", own_limits=(own,))
    text = write(replace(sample_report, guarantee=limited)).text
    assert "wrong among automatic labels, for every class without a limit of its own, 95% sure" in text
    assert "Limit of cyst 10%" in text
    text = write(replace(sample_report, guarantee=replace(limited, auto=False, needed=None, stricter=1.9))).text
    assert "Recalibrate on fresh answers, or fit again with --calibration : either sets the gate again." in text
