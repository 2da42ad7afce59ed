"""The reproduction's figures 4 to 7 as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduction import (
    FAMILIES,
    OUTLIER_SHARES,
    PUBLISHED_MISSED,
    PUBLISHED_SECONDS,
    PUBLISHED_TOP,
    PUBLISHED_WRONG,
    SHARES,
    SMALL,
    TOPS,
    Measured,
    interval,
)

from annotriage.diagnosis.samplers import Method
from annotriage.report.html import static
from annotriage.report.inside_charts import bars_chart, lines_chart


def write_figures(measured: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Draw what `reproduction.report` gave for each world into `folder`/figures.html."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'><title>Figures 4 to 7</title>"]
    ours = ".row { display: flex; flex-wrap: wrap; gap: 20px } main { max-width: none }"
    parts += [f"<style>{static('report.css')} {ours}</style><main>"]
    for world in measured:
        parts.append(f"<section><h1>{world['name']}, {world['size']:,} items</h1>")
        parts += [_row("Figure 4: by the share that is sampled", [_figure_4(world["shares"], family) for family in range(3)])]
        parts += ["<h3>Table IV: share of the wrong items that a 5% sample holds</h3>", _table_4(world)]
        parts += [_row("Figure 5: S1 of a 5% sample by k", [_figure_5(world)])]
        said = "Figure 6: by the share of doubtful items (published: S1 rises to a plateau near 0.7, S3 is lowest near 0.5)"
        parts += [_row(said, [_figure_6(world["tuning"], family) for family in range(3)])]
        spent = world["seconds"]
        names = [f"{method} ({PUBLISHED_SECONDS.get(method, '–')})" for method in spent]
        bars = bars_chart("Seconds", names, ["seconds"], [[seconds] for seconds in spent.values()], "seconds by method")
        parts += [_row("Figure 7: seconds; published for 2,118 x 64 in brackets", [str(bars)]), "</section>"]
    place = folder / "figures.html"
    place.write_text("\n".join([*parts, "</main></html>"]), "utf-8")
    return place


def _row(title: str, charts: Sequence[str]) -> str:
    return f"<h3>{title}</h3><div class='row'>{''.join(f'<figure>{chart}</figure>' for chart in charts)}</div>"


def _figure_4(shares: Mapping[Any, Any], family: int) -> str:
    values = [[_mean(shares.get((method, share)), family) for share in SHARES] for method in Method]
    chart = lines_chart(FAMILIES[family], [f"{share:.0%}" for share in SHARES], list(Method), values, "")
    return f"<figcaption>{FAMILIES[family]}</figcaption>{chart}"


def _table_4(world: Mapping[str, Any]) -> str:
    rows, wrong, published = [], world["wrong"], PUBLISHED_MISSED[world["name"]]
    for method in Method:
        runs = world["shares"][method, SMALL]
        its = f"{published[method] / PUBLISHED_WRONG[world['name']]:.2f}" if method in published else "–"
        here = interval([run.missed / wrong for run in runs])
        rows.append(f"<tr><th scope='row'>{method}</th><td>{here}</td><td>{its}</td><td>{runs[0].size}</td></tr>")
    return (
        f"<table><thead><tr><th>Method</th><th>Here</th><th>Published</th><th>Items</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _figure_5(world: Mapping[str, Any]) -> str:
    shares, published = world["shares"], PUBLISHED_TOP[world["name"]]
    values = [[interval([run.tops[place] for run in shares[method, SMALL]]).mean for place in range(len(TOPS))] for method in Method]
    values.append([published.get(k, math.nan) for k in TOPS])
    return str(lines_chart("S1 by k", [str(k) for k in TOPS], [*Method, "max-margin, published"], values, ""))


def _figure_6(tuning: Mapping[Any, Any], family: int) -> str:
    lines: dict[str, list[float]] = {}
    for method in (method for method in Method if method.by_ratio):
        lines[method] = [_mean(tuning[method, share], family) for share in OUTLIER_SHARES]
        lines[f"{method}, weighted"] = [_mean(tuning[method, None], family)] * len(OUTLIER_SHARES)
    chart = lines_chart(FAMILIES[family], [f"{share:g}" for share in OUTLIER_SHARES], list(lines), list(lines.values()), "")
    return f"<figcaption>{FAMILIES[family]}</figcaption>{chart}"


def _mean(runs: Sequence[Measured] | None, family: int) -> float:
    return interval([run.figures[family] for run in runs]).mean if runs else math.nan
