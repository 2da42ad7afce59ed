"""The reproduction's figures 4 to 7 as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduction import FAMILIES, OUTLIER_SHARES, SHARES, SMALL, TOPS, Measured, interval

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
        parts += [_row("Figure 5: S1 of a 5% sample by k", [_figure_5(world["shares"])])]
        parts += [_row("Figure 6: by the share of doubtful items", [_figure_6(world["tuning"], family) for family in range(3)])]
        spent = world["seconds"]
        bars = bars_chart("Seconds", list(spent), ["seconds"], [[seconds] for seconds in spent.values()], "seconds by method")
        parts += [_row("Figure 7: seconds", [str(bars)]), "</section>"]
    place = folder / "figures.html"
    place.write_text("\n".join([*parts, "</main></html>"]), "utf-8")
    return place


def _row(title: str, charts: Sequence[str]) -> str:
    return f"<h3>{title}</h3><div class='row'>{''.join(f'<figure>{chart}</figure>' for chart in charts)}</div>"


def _figure_4(shares: Mapping[Any, Any], family: int) -> str:
    values = [[_mean(shares.get((method, share)), family) for share in SHARES] for method in Method]
    chart = lines_chart(FAMILIES[family], [f"{share:.0%}" for share in SHARES], list(Method), values, "")
    return f"<figcaption>{FAMILIES[family]}</figcaption>{chart}"


def _figure_5(shares: Mapping[Any, Any]) -> str:
    values = [[interval([run.tops[place] for run in shares[method, SMALL]]).mean for place in range(len(TOPS))] for method in Method]
    return str(lines_chart("S1 by k", [str(k) for k in TOPS], list(Method), values, ""))


def _figure_6(tuning: Mapping[Any, Any], family: int) -> str:
    lines: dict[str, list[float]] = {}
    for method in (method for method in Method if method.by_ratio):
        lines[method] = [_mean(tuning[method, share], family) for share in OUTLIER_SHARES]
        lines[f"{method}, weighted"] = [_mean(tuning[method, None], family)] * len(OUTLIER_SHARES)
    chart = lines_chart(FAMILIES[family], [f"{share:g}" for share in OUTLIER_SHARES], list(lines), list(lines.values()), "")
    return f"<figcaption>{FAMILIES[family]}</figcaption>{chart}"


def _mean(runs: Sequence[Measured] | None, family: int) -> float:
    return interval([run.figures[family] for run in runs]).mean if runs else math.nan
