"""Sentences about the channels that a class is recognised by, and about the concepts that units detect."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from annotriage.advice.numbers import count, percent


def graph_sentence(classes: Sequence[str], items: Sequence[int], labelled: bool) -> str:
    """What the graph rests on."""
    how = "labelled as" if labelled else "which the model takes for"
    parts = [f"{count(number, 'item')} {how} {name}" for name, number in zip(classes, items, strict=True)]
    return f"Drawn from {' and '.join(parts)}."


def shared_sentence(classes: Sequence[str], layers: Sequence[str], shared: Sequence[Sequence[int]]) -> str:
    """Where two classes part. shared: of each layer, how many of the channels drawn belong to both, and how many there are."""
    total = sum(both for both, _ in shared), sum(every for _, every in shared)
    sentence = f"{classes[0]} and {classes[1]} share {total[0]} of the {total[1]} channels drawn."
    if not total[0]:
        return sentence
    shares = [both / max(every, 1) for both, every in shared]
    least, most = min(range(len(shares)), key=shares.__getitem__), max(range(len(shares)), key=shares.__getitem__)
    if shares[least] == shares[most]:
        return sentence
    alike, apart = (f"{layers[place]} ({shared[place][0]} of {shared[place][1]})" for place in (most, least))
    return f"{sentence} They are most alike in {alike} and least in {apart}."


def connection_sentence(layers: Sequence[tuple[str, str]]) -> str:
    """How the layers are connected. layers: names with "weights" or "correlation", the first with ""."""
    steps = [(f"{before} to {name}", how) for (before, _), (name, how) in pairwise(layers)]
    loose = [step for step, how in steps if how == "correlation"]
    weights = "A connection is what a channel puts through the weights into a channel of the next layer."
    if not loose:
        return weights
    rising = "how far two channels rise together, for more than one layer of weights lies in between"
    if len(loose) == len(steps):
        return f"A connection is {rising}. It says what goes together, not what causes what."
    named = ", ".join(loose[:3]) + (f" and {len(loose) - 3} more" if len(loose) > 3 else "")
    return f"{weights} From {named} it is {rising}: that says what goes together, not what causes what."


def detectors_sentence(layer: str, detectors: int, units: int, concepts: int, found: int, least: float) -> str:
    """How many units of a layer detect a concept. found: how many concepts are detected."""
    said = f"In {layer}, {detectors} of {count(units, 'unit')} detect a concept (IoU above {least:g})"
    return f"{said}; {found} of {count(concepts, 'concept')} are detected by at least one." if detectors else f"{said}."


def ranking_sentence(layer: str, concept: str, unit: int, auroc: float, low: float, high: float) -> str:
    """Which unit tells best whether a concept is there."""
    way = "rises" if auroc >= 0.5 else "falls"
    sentence = f"In {layer}, unit {unit} {way} most with {concept}: AUROC {auroc:.2f} ({low:.2f} to {high:.2f})."
    return sentence if low > 0.5 or high < 0.5 else f"{sentence} That may be chance."


def multiplicity_sentence(comparisons: int, level: float) -> str:
    """What many comparisons do to intervals. level: of each interval."""
    return (
        f"{comparisons:,} pairs of unit and concept were compared, and the best of many looks good by chance alone. So the intervals are"
        f" widened to {percent(level, 4)} each: all of them hold together with 95%."
    )


def unreachable_sentence(names: Sequence[str], quantile: float, least: float) -> str:
    """Concepts that cover so much that no unit can be a detector of them."""
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    covers, takes = ("covers", "it") if len(names) == 1 else ("cover", "they")
    return (
        f"{listed} {covers} so much of the images that a unit active on {percent(quantile)} of all places cannot reach an IoU of"
        f" {least:g} however well {takes} {'is' if takes == 'it' else 'are'} matched. Raise the quantile (--quantile) to the share that the"
        " concept covers."
    )
