"""Units against labels: which values say best whether a concept is in an item."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.data.concepts import ConceptLabels
from annotriage.diagnosis.dissection import rankings
from annotriage.engine.diagnosis.concepts import EXAMPLES, Concept, ConceptRun, DissectedLayer, Example, Found, Unit, lit
from annotriage.errors import DataError

Array = NDArray[Any]

BEST = 5  # units of a layer that are listed for a concept
FEWEST = 5  # items with a concept, and without it, from which units are ranked


def by_labels(run: ConceptRun, given: ConceptLabels, chosen: dict[str, str]) -> Found:
    """Rank all units by each concept. chosen: ids with the keys of their labels. Raises DataError where no concept has enough items."""
    ids: list[str] = []
    values: list[list[Array]] = [[] for _ in run.model.layers]
    for batch, layers in run.batches(chosen.keys(), "comparing with labels"):
        ids += [item.id for item in batch.items]
        for place, layer in enumerate(layers):
            values[place].append(layer.reshape(*layer.shape[:2], -1).mean(axis=2))
    table = [np.concatenate(parts) for parts in values]
    told = [given.rows[chosen[id]] for id in ids]
    concepts, usable, notes = [], [], []
    for place, name in enumerate(given.names):
        known = np.array([row[place] is not None for row in told])
        there = np.array([bool(row[place]) for row in told])
        concepts.append(Concept(name, int((known & there).sum()), int(known.sum()), float("nan")))
        if min(int((known & there).sum()), int((known & ~there).sum())) < FEWEST:
            notes.append(f"{name}: fewer than {FEWEST} items are with it or without it, too few to rank units by.")
        else:
            usable.append((name, known, there))
    if not usable:
        raise DataError(f"{notes[0] if notes else 'no concept'} Give labels of more items.")
    comparisons = len(usable) * sum(layer.shape[1] for layer in table)
    level = 1 - 0.05 / comparisons
    found = []
    examples: dict[str, list[tuple[int, Unit]]] = {}
    with run.step("ranking units", len(table) * len(usable)) as advance:
        for place, layer in enumerate(table):
            units = []
            for name, known, there in usable:
                ranked = rankings(layer[known], there[known], level)
                order = np.argsort(-np.abs(ranked.auroc - 0.5), kind="stable")[:BEST].tolist()
                for number, unit in enumerate(order):
                    low, high = float(ranked.low[unit]), float(ranked.high[unit])
                    made = Unit(unit, name, float(ranked.auroc[unit]), low, high, low > 0.5 or high < 0.5)
                    units.append(made)
                    if number == 0:
                        for row in np.argsort(-layer[:, unit], kind="stable")[:EXAMPLES]:
                            examples.setdefault(ids[row], []).append((place, made))
                advance(1)
            found.append(units)
    drawn = _label_examples(run, examples, table, ids)
    layers_found = tuple(
        DissectedLayer(name, table[place].shape[1], tuple(replace(unit, examples=drawn.get((place, unit), ())) for unit in found[place]))
        for place, name in enumerate(run.model.layers)
    )
    return Found(tuple(concepts), layers_found, level, comparisons, notes)


def _label_examples(
    run: ConceptRun, wanted: dict[str, list[tuple[int, Unit]]], table: list[Array], ids: list[str]
) -> dict[tuple[int, Unit], tuple[Example, ...]]:
    """The items that excite the best unit of each concept and layer most."""
    rows = {id: row for row, id in enumerate(ids)}
    drawn: dict[tuple[int, Unit], list[tuple[float, Example]]] = {}
    for batch, _ in run.batches(wanted.keys(), "drawing examples"):
        for item, content in zip(batch.items, batch.contents, strict=True):
            if content.dtype != np.uint8 or content.ndim != 3:
                continue
            whole = np.ones(content.shape[:2], dtype=bool)
            picture = lit(content, whole, ~whole)
            for place, unit in wanted[item.id]:
                drawn.setdefault((place, unit), []).append((-float(table[place][rows[item.id], unit.unit]), Example(item.id, picture)))
    return {key: tuple(example for _, example in sorted(parts, key=lambda entry: entry[0])) for key, parts in drawn.items()}
