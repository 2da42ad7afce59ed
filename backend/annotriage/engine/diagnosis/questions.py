"""The answers to the seven questions: of what a model makes of a dataset, the sentence, the figures, and the items they are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice import diagnosis_words as words
from annotriage.diagnosis import questions
from annotriage.diagnosis.pictures import Bars, Heat, Lines, Picture
from annotriage.diagnosis.query_sets import TOP
from annotriage.diagnosis.questions import Query
from annotriage.diagnosis.view import UNLABELLED
from annotriage.engine.diagnosis.inside import Inside
from annotriage.errors import DataError

Array = NDArray[Any]

COLUMNS = 64  # neurons drawn of a layer
CONFUSIONS = 3  # shown of the most frequent

Found = tuple[str, Sequence[Picture], Sequence[int]]  # the sentence, the figures, the rows of items to show


def layer_means(inside: Inside) -> Found:
    """Q1, in every layer."""
    classes = inside.view.truth if inside.view.labelled.any() else inside.view.predicted
    known = classes != UNLABELLED
    sentences, pictures = [], []
    for place, layer in enumerate(inside.layers):
        found = questions.class_means(layer[known], classes[known])
        shown = np.sort(found.telling[:COLUMNS])
        name = inside.layer_names[place]
        if place == inside.last_map:
            sentences.append(words.layer_means_sentence(found, name, inside.names))
        axis = f"neurons of {name}" + (f", the {COLUMNS} that differ most of {layer.shape[1]:,}" if layer.shape[1] > COLUMNS else "")
        columns = inside.names[:-1] if place == len(inside.layers) - 1 and len(shown) == layer.shape[1] else _neurons(shown)
        rows = tuple(inside.names[kind] for kind in found.classes)
        pictures.append(Heat(f"Mean activation in {name}", rows, tuple(columns[: len(shown)]), found.means[:, shown], axis))
    return " ".join(sentences), pictures, ()


def top_neurons(inside: Inside) -> Found:
    """Q2, in every hidden layer."""
    if not inside.view.wrong.any():
        return _no_errors(inside)
    sentence, pictures = "", []
    for place in range(len(inside.layers) - 1):
        found = questions.top_neurons_of_errors(inside.layers[place], inside.view)
        name = inside.layer_names[place]
        if place == inside.last_map:
            sentence = words.top_neurons_sentence(found, name)
        values = np.stack([found.wrong, found.right], axis=1)
        pictures.append(Bars(f"Highest activation in {name}", _neurons(found.neurons), ("wrong items", "right items"), values))
    return sentence, pictures, np.flatnonzero(inside.view.wrong).tolist()


def contrast(inside: Inside) -> Found:
    """Q3, in the last hidden layer."""
    layer = inside.layers[inside.last_hidden]
    found = questions.errors_against_correct(layer, inside.view)
    if not found:
        return _no_errors(inside)
    name, worst = inside.layer_names[inside.last_hidden], found[0]
    shown = worst.neurons[:TOP]
    distances = np.array([[contrast.distance] for contrast in found])
    kinds = tuple(f"{inside.names[contrast.kind]} ({contrast.items:,} wrong)" for contrast in found)
    means = np.stack([worst.wrong[shown], worst.right[shown]], axis=1)
    pictures = (
        Bars(f"Cosine distance of wrong from right items in {name}", kinds, ("distance",), distances),
        Bars(f"{inside.names[worst.kind]}: neurons that differ most", _neurons(shown), ("wrong items", "right items"), means),
    )
    view = inside.view
    return words.contrast_sentence(found, name, inside.names), pictures, np.flatnonzero(view.wrong & (view.truth == worst.kind)).tolist()


def logits(inside: Inside) -> Found:
    """Q4, of all hidden layers."""
    similarity = questions.logits_and_layers(inside.layers[:-1], inside.layers[-1])
    names = inside.names[: similarity.shape[0]]
    picture = Heat("Similarity of each class's answer with each layer (linear CKA)", names, inside.layer_names[:-1], similarity)
    if not np.isfinite(similarity).any():
        return "The activations do not vary over these items; give more of them.", (picture,), ()
    return words.logits_sentence(similarity, inside.layer_names, names, inside.last_map), (picture,), ()


def taken_for(inside: Inside, pair: tuple[int, ...] | None) -> Found:
    """Q5, in the last feature map. pair: (class, the class it is taken for), None = the most frequent confusions."""
    view = inside.view
    chosen = questions.confusions(view) if pair is None else [(pair[0], pair[1])]
    chosen = [(kind, other) for kind, other in chosen if ((view.truth == kind) & (view.predicted == other)).any()][:CONFUSIONS]
    if not chosen:
        if pair is None:
            return _no_errors(inside)
        return f"No item of {inside.names[pair[0]]} is taken as {inside.names[pair[1]]} here.", (), ()
    name, layer = inside.layer_names[inside.last_map], inside.layers[inside.last_map]
    sentences, pictures, rows = [], [], []
    for kind, other in chosen:
        found = questions.taken_for(layer, view, kind, other)
        mine, its = inside.names[kind], inside.names[other]
        sentences.append(words.taken_for_sentence(found, name, inside.names))
        top = found.neurons[:TOP]
        values = np.stack([found.taken[top], found.kind_right[top], found.other_right[top]], axis=1)
        series = (f"{mine} as {its}", f"{mine}, right", f"{its}, right")
        pictures.append(Bars(f"Where the maximum in {name} falls: share of items", _neurons(top), series, values))
        rows += found.rows.tolist()
    return " ".join(sentences), pictures, rows


def learned(inside: Inside, checkpoints: Sequence[Inside]) -> Found:
    """Q6. checkpoints: of the same items, oldest first."""
    if not inside.view.labelled.any():
        return words.UNLABELLED, (), ()
    mine, others = _same_items(inside, checkpoints)
    stages = [(other.layers[other.last_hidden], other.view.predicted) for other in others]
    learnable = np.where(mine.view.truth < mine.view.classes, mine.view.truth, UNLABELLED)  # what it has no class for it cannot learn
    if not (learnable != UNLABELLED).any():
        return words.UNLABELLED, (), ()
    found = questions.learned_first(stages, mine.layers[mine.last_hidden], learnable)
    names = tuple(inside.names[kind] for kind in found.classes)
    places = tuple(f"checkpoint {place + 1}" for place in range(len(stages)))
    pictures = (
        Lines("Share of each class that is right", places, names, found.right),
        Lines("Likeness of its last hidden layer to the final model's (linear CKA)", places, names, found.like_final),
    )
    return words.learned_sentence(found, inside.names), pictures, ()


def similarity(inside: Inside, other: Inside) -> Found:
    """Q7. other: what another model makes of the same items."""
    mine, (its,) = _same_items(inside, [other])
    alike = questions.model_similarity(mine.layers, its.layers)
    picture = Heat(
        "Similarity of layers (linear CKA)", mine.layer_names, its.layer_names, alike, "rows: this model; columns: the other one"
    )
    return words.similarity_sentence(alike, mine.layer_names, its.layer_names), (picture,), ()


def _same_items(inside: Inside, others: Sequence[Inside]) -> tuple[Inside, list[Inside]]:
    """The items that all could read, in one order."""
    shared = frozenset(inside.ids).intersection(*(other.ids for other in others))
    if len(shared) < 2:
        raise DataError(f"{inside.dataset}: fewer than two items could be read by all models, so they cannot be compared")
    taken = [part.rows(np.flatnonzero([id in shared for id in part.ids])) for part in (inside, *others)]
    return taken[0], taken[1:]


def _no_errors(inside: Inside) -> Found:
    return (words.NO_ERRORS if inside.view.labelled.any() else words.UNLABELLED), (), ()


def _neurons(numbers: Array) -> tuple[str, ...]:
    return tuple(f"neuron {number}" for number in numbers.tolist())


# The questions that need nothing but the items.
PLAIN: dict[Query, Callable[[Inside], Found]] = {
    Query.LAYER_MEANS: layer_means,
    Query.TOP_NEURONS_OF_ERRORS: top_neurons,
    Query.ERRORS_AGAINST_CORRECT: contrast,
    Query.LOGITS_AND_LAYERS: logits,
}
