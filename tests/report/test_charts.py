"""Charts: what they say to eyes and to screen readers."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from annotriage.report import charts

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def drawn(root: ElementTree.Element, tag: str, kind: str) -> list[ElementTree.Element]:
    return [element for element in root.iter(SVG + tag) if kind in element.get("class", "").split()]


def test_the_share_chart_draws_dataset_and_normal_data_on_one_axis(samples):
    root = parse(charts.share_chart(samples.diversity(500, 62)))
    dots = [float(dot.get("cx")) for dot in drawn(root, "circle", "c-dot")]
    assert len(dots) == 2
    assert dots[0] > dots[1]
    assert "12.4%" in root.get("aria-label")
    assert "12.4%" in root.find(SVG + "desc").text


def test_the_share_chart_leaves_out_what_is_not_calibrated(samples):
    root = parse(charts.share_chart(replace(samples.diversity(500, 62), calibrated=False)))
    assert len(drawn(root, "circle", "c-dot")) == 1


@pytest.mark.parametrize("outliers", [0, 1, 3])
def test_whiskers_of_the_share_chart_stay_inside_it(samples, outliers):
    root = parse(charts.share_chart(samples.diversity(3, outliers)))
    assert all(0 <= float(line.get(end)) <= 560 for line in drawn(root, "line", "c-whisker") for end in ("x1", "x2"))


def test_the_routes_bar_is_as_long_as_its_counts():
    root = parse(charts.routes_bar({"auto": 60, "uncertain": 30, "outlier": 9, "failed": 1}))
    assert [float(rect.get("width").rstrip("%")) for rect in root.iter(SVG + "rect")] == pytest.approx([60, 30, 9, 1])


def test_the_routes_bar_of_nothing_is_empty():
    assert not list(parse(charts.routes_bar({})).iter(SVG + "rect"))


def test_the_chosen_place_is_drawn_only_when_automatic_labels_are_on(samples):
    assert drawn(parse(charts.risk_coverage_chart(samples.guarantee())), "line", "c-chosen")
    off = parse(charts.risk_coverage_chart(samples.guarantee(63, 1, auto=False)))
    assert not drawn(off, "line", "c-chosen")
    assert "off" in off.get("aria-label")


def test_the_limit_is_drawn_where_the_axis_says(samples):
    root = parse(charts.risk_coverage_chart(samples.guarantee()))
    limit = float(drawn(root, "line", "c-limit")[0].get("y1"))
    label = next(text for text in root.iter(SVG + "text") if text.text == "2%")
    assert float(label.get("y")) - 4 == pytest.approx(limit, abs=0.2)


def test_a_chart_without_any_known_figure_still_reads(samples):
    parse(charts.risk_coverage_chart(samples.uncalibrated()))
    root = parse(charts.interval_row(float("nan"), float("nan"), float("nan"), float("nan"), 1.0, "cluster 3: not known"))
    assert not list(root.iter(SVG + "circle"))
    assert root.find(SVG + "title").text == "cluster 3: not known"


def test_names_from_data_are_text(samples):
    root = parse(charts.interval_row(0.5, 0.4, 0.6, 0.05, 1.0, f'"><script>{samples.HOSTILE}'))
    assert not [element for element in root.iter() if element.tag.endswith("script")]


def test_rows_of_one_table_share_an_axis_above_all_of_them():
    assert charts.rows_upper([0.2, float("nan"), 0.31], [0.05]) >= 0.31
    assert charts.rows_upper([], []) > 0
