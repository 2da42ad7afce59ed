"""Charts of what goes on inside a model."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from annotriage.report import inside_charts

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg):
    return ElementTree.fromstring(str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def drawn(root, tag, kind):
    return [part for part in root.iter(SVG + tag) if kind in part.get("class", "").split()]


def test_bars_are_as_long_as_their_values_say():
    root = parse(inside_charts.bars_chart("Bars", ["a", "<b>"], ["one", "two"], [[1.0, 2.0], [float("nan"), 4.0]], "four values"))
    bars = [bar for kind in ("c-series-0", "c-series-5") for bar in drawn(root, "rect", kind)[1:]]  # after the legend's
    widths = [float(bar.get("width")) for bar in bars]
    assert widths == pytest.approx([92.5, 0, 185, 370])
    texts = [text.text for text in root.iter(SVG + "text")]
    assert "<b>" in texts
    assert "not known" in texts


def test_a_table_of_colours_is_stronger_for_larger_values_and_says_each():
    root = parse(inside_charts.heat_chart("Heat", ["a"], ["x", "y", "z"], [[1.0, -2.0, float("nan")]], "three values", "columns"))
    assert [cell.get("fill-opacity") for cell in drawn(root, "rect", "c-cool") + drawn(root, "rect", "c-warm")] == ["0.275", "0.550"]
    assert [cell.find(SVG + "title").text for cell in root.iter(SVG + "rect")] == ["a, x: 1", "a, y: -2", "a, z: not known"]


def test_lines_leave_out_what_is_not_known_and_carry_their_names_apart():
    root = parse(inside_charts.lines_chart("Lines", ["1", "2", "3"], ["a", "b"], [[0, 0.5, 1], [0, float("nan"), 1]], "two lines"))
    first, second = (drawn(root, "path", f"c-line-{number}")[0].get("d") for number in range(2))
    assert (first.count("L"), second.count("L")) == (2, 1)
    heights = [float(name.get("y")) for name in drawn(root, "text", "c-name")]
    assert abs(heights[0] - heights[1]) >= 12


def test_the_grid_has_round_numbers_and_lines_beyond_the_colours_are_dashed():
    root = parse(inside_charts.lines_chart("Lines", ["1", "2"], list("abcdefghi"), [[0.0, 0.83 - place / 100] for place in range(9)], ""))
    assert [tick.text for tick in drawn(root, "text", "c-end")] == ["0", "0.25", "0.5", "0.75", "1"]
    assert len(drawn(root, "path", "c-dashed")) == 1
