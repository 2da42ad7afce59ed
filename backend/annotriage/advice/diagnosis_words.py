"""Sentences that answer the seven questions about a model's activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.numbers import count, percent
from annotriage.diagnosis.query_sets import Accuracy
from annotriage.diagnosis.questions import ClassMeans, Confusion, Contrast, Learning, Query, TopNeurons

Array = NDArray[Any]

TITLES = {
    Query.LAYER_MEANS: "What does each neuron do on average, class by class?",
    Query.TOP_NEURONS_OF_ERRORS: "Which neurons fire highest where the model is wrong?",
    Query.ERRORS_AGAINST_CORRECT: "How do wrong items of a class differ from right ones?",
    Query.LOGITS_AND_LAYERS: "Where in the model is each answer made?",
    Query.TAKEN_FOR: "What does the model see when it takes one class for another?",
    Query.LEARNED_FIRST: "Which classes are learned first?",
    Query.MODEL_SIMILARITY: "How alike are the layers of two models?",
}
NO_ERRORS = "The model gets no labelled item wrong here, so there is nothing to say about errors."
UNLABELLED = "No item is labelled, so right and wrong answers cannot be told apart."


def layer_means_sentence(found: ClassMeans, layer: str, names: Sequence[str]) -> str:
    """Which neuron tells classes apart."""
    neuron = int(found.telling[0])
    means = found.means[:, neuron]
    if len(means) < 2:
        return f"In {layer} all items are of one class, {names[int(found.classes[0])]}: there is nothing to compare."
    most, least = names[int(found.classes[means.argmax()])], names[int(found.classes[means.argmin()])]
    return f"In {layer}, neuron {neuron} tells classes apart most: {means.max():.3g} on average for {most}, {means.min():.3g} for {least}."


def top_neurons_sentence(found: TopNeurons, layer: str) -> str:
    """Which neuron fires highest for errors, and whether that is special."""
    first = int(found.neurons[0])
    sentence = f"In {layer}, neuron {first} fires highest where the model is wrong (up to {found.wrong[0]:.3g})."
    if np.isnan(found.right[0]):
        return f"{sentence} No item is right, so there is nothing to compare with."
    total = len(found.neurons)
    if found.shared == total:
        return f"{sentence} The top {total} are the same as for right items: errors are not driven by neurons of their own."
    return f"{sentence} {found.shared} of the top {total} are also among those of right items."


def contrast_sentence(found: Sequence[Contrast], layer: str, names: Sequence[str]) -> str:
    """The class whose errors look least like the rest of it."""
    worst = found[0]
    neurons = ", ".join(str(neuron) for neuron in worst.neurons[:3].tolist())
    return (
        f"Wrong items of {names[worst.kind]} ({worst.items:,} seen) look least like right ones in {layer}: their means are"
        f" {worst.distance:.2f} away (cosine distance). They differ most in the neurons {neurons}."
    )


def logits_sentence(similarity: Array, layers: Sequence[str], names: Sequence[str], last_map: int) -> str:
    """Where the answers are made."""
    known = np.nan_to_num(similarity[:, last_map])
    easy, hard = int(known.argmax()), int(known.argmin())
    return (
        f"{layers[last_map]} says most about {names[easy]} (similarity {known[easy]:.2f} with its answer) and least about"
        f" {names[hard]} ({known[hard]:.2f}): what tells {names[hard]} is put together later."
    )


def taken_for_sentence(found: Confusion, layer: str, names: Sequence[str]) -> str:
    """What items taken for another class look like."""
    first = int(found.neurons[0])
    taken = (
        f"{count(len(found.rows), 'item')} of {names[found.kind]} {'is' if len(found.rows) == 1 else 'are'} taken as {names[found.other]}."
    )
    sentence = f"{taken} In {layer} {percent(found.taken[first], 0)} of their maxima fall on neuron {first}."
    if found.nearer is None:
        return sentence
    like = names[found.other if found.nearer else found.kind]
    return f"{sentence} There they look more like right items of {like}{'' if found.nearer else ': the mistake is made later'}."


def learned_sentence(found: Learning, names: Sequence[str]) -> str:
    """Which class is learned first and last."""
    first, last = (int(found.order[place]) for place in (0, -1))
    return (
        f"{names[int(found.classes[first])]} is learned first ({percent(found.right[first, 0], 0)} right at the first checkpoint),"
        f" {names[int(found.classes[last])]} last ({percent(found.right[last, 0], 0)})."
    )


def similarity_sentence(similarity: Array, mine: Sequence[str], its: Sequence[str]) -> str:
    """How alike two models are, by their last hidden layers, and where they part most. The logits stand last."""
    hidden = similarity[-2, -2]
    nearest = np.nan_to_num(similarity).max(axis=1)
    least = int(nearest.argmin())
    return (
        f"Their last hidden layers ({mine[-2]} and {its[-2]}) are alike to {hidden:.2f}, 1 = the same up to rotation. The other model has"
        f" least of {mine[least]} (at most {nearest[least]:.2f})."
    )


def expected_sentence(query: Query, accuracy: Accuracy | None, pilot: int) -> str:
    """How true an answer on a sample is. pilot: items that the sample was compared with."""
    if accuracy is None:
        return "How true it is on the sample cannot be said: no item of the comparison is labelled."
    figures = {
        "S1": f"the sample names {percent(accuracy.top_neurons, 0)} of the true top neurons",
        "S2": f"its means are {accuracy.means:.3f} away (cosine distance)",
        "S3": f"its distribution of maxima is {accuracy.distribution:.2f} away (Jensen-Shannon, 0 to 1)",
    }
    return f"Expected accuracy: {', '.join(figures[family] for family in query.families)}; compared with {count(pilot, 'item')}."
