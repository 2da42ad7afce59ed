"""Sentences about an atlas: how much of the answers a layer holds, and where strange items fall."""

from __future__ import annotations

from collections.abc import Sequence

from annotriage.advice.numbers import count, percent

NEEDS_IMAGES = "The model takes rows of numbers; only of a model that looks at images can images be made."
NEEDS_TORCH = (
    "Images are made along gradients, and only torch models (a .pt2, or a factory) give them; this one is run by onnxruntime, so each cell"
    " shows the real picture nearest to its mean."
)


def explained_sentence(layer: str, explained: float) -> str:
    """How far a layer already holds the answers."""
    if explained > 0.999:
        return f"{layer} feeds the model's answers directly: what a cell says is what the model says."
    return (
        f"In {layer}, {percent(max(explained, 0.0), 0)} of the model's answers can be read off directly; the rest is made later, or takes"
        " more items."
    )


def strange_sentence(strange: int, total: int, fallen: Sequence[tuple[str, int]], drawn: int | None = None) -> str:
    """How many outliers there are. fallen: classes that the model takes them for, with how many, the most first. drawn: how many of them
    the page draws, by default all."""
    if not strange:
        return f"None of {count(total, 'item')} is strange."
    where = ", ".join(f"{name} ({number:,})" for name, number in fallen[:3])
    are = "is" if strange == 1 else "are"
    shown = ", drawn as diamonds" if drawn is None or drawn >= strange else f"; {drawn:,} of them, chosen at random, are drawn as diamonds"
    sentence = f"{strange:,} of {count(total, 'item')} {are} strange{shown}."
    return f"{sentence} The model takes most of them for {where}." if where else sentence


def places_sentence(layer: str) -> str:
    """That one place of each image was taken."""
    return f"In {layer} one random place of each image stands for it; a cell shows the patch that this place sees."


def evidence_sentence(layers: Sequence[str], gradients: bool) -> str:
    """How it was found what a cell of these layers speaks for."""
    where = f"What a cell speaks for in {', '.join(layers)}"
    if gradients:
        return f"{where} is its activation times the gradient of the answer, compared with the average item."
    return f"{where} is read off the linear map from the layer to the answers, compared with the average item."
