"""Sentences about samples for diagnosis: where an item comes from, why it was chosen, how far the sample can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from annotriage.advice.numbers import count, percent
from annotriage.diagnosis.query_sets import Accuracy
from annotriage.diagnosis.ratios import LARGEST_RATIO
from annotriage.diagnosis.samplers import Method
from annotriage.diagnosis.view import Why


def cluster_name(method: Method, number: int, names: Sequence[str]) -> str:
    """The cell or cluster with this number. names: of the classes, the one for what is none of them last."""
    if method in (Method.CONFUSION_MATRIX, Method.ERRORS_FIRST):
        truth, answer = divmod(number, len(names))
        return f"{names[truth]} taken as {names[answer]}" if truth != answer else f"{names[truth]}, right"
    if method in (Method.MAX_MARGIN, Method.BOUNDARY_TREE):
        return names[number]
    if method is Method.LATENT_GRID:
        return f"cell {number}"
    return f"component {number + 1}" if method.by_ratio else "all"


def why_sentence(why: Why, cluster: str, ratio: float) -> str:
    """Why an item is in the sample."""
    where = "all items" if cluster == "all" else cluster
    odds = f"{ratio:.3g}" if ratio < LARGEST_RATIO else f"over {LARGEST_RATIO:,.0f}"
    return {
        Why.RANDOM: f"drawn at random from {where}",
        Why.DOUBTFUL: f"among the least sure of {where}: odds of {odds} to 1 that it belongs there",
        Why.TYPICAL: f"among the surest of {where}: odds of {odds} to 1",
        Why.WEIGHTED: f"drawn at random from {where}, doubtful items more often (odds {odds} to 1)",
        Why.SPREAD: "keeps the picture of all items as it is",
        Why.BOUNDARY: f"on the boundary of {where}",
        Why.WRONG: f"the model is wrong on it: {where}",
        Why.STRONG: f"drives a neuron higher than the others of {where}",
    }[why]


def quality_sentence(accuracy: Accuracy | None, items: int) -> str:
    """How good a sample is expected to be. items: how many it was compared with."""
    if accuracy is None:
        return "How good the sample is cannot be said: no item is labelled, so right and wrong answers cannot be told apart."
    missing = f" {count(accuracy.missing, 'of them has', 'of them have')} no item in it." if accuracy.missing else ""
    return (
        f"Compared with all {count(items, 'item')}, over {count(accuracy.combinations, 'combination')} of layer, class, and right or wrong:"
        f" it names {percent(accuracy.top_neurons, 0)} of the 10 most activated neurons, means are {accuracy.means:.3f} away (cosine),"
        f" the distribution of the most activated neuron {accuracy.distribution:.2f} (Jensen-Shannon; 0 is best, 1 is worst).{missing}"
    )


def caught_sentence(caught: int, wrong: int, labelled: int) -> str:
    """How many of the model's errors are in the sample."""
    if not labelled:
        return "No item is labelled, so the model's errors are not known."
    if not wrong:
        return f"The model gets all {count(labelled, 'labelled item')} right: there is no error to look at."
    return f"It holds {caught:,} of the {count(wrong, 'item')} that the model gets wrong."
