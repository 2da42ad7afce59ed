"""The page of `annotriage demo --story diversity`: three graphs side by side, their scores, and the advice of two rules."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from annotriage.advice.advice import TITLES
from annotriage.advice.answer_words import PERSON_FIRST, badge_of
from annotriage.advice.numbers import percent, percent_range
from annotriage.advice.published_advice import THRESHOLD, WHY_OURS_DIFFERS
from annotriage.engine.opinions import Opinion
from annotriage.report.charts import interval_row
from annotriage.report.html import bundle, frame, picture, template, write_page
from annotriage.report.output import json_text

Array = NDArray[Any]

PAGE, FIGURES = "story.html", "story.json"
SIDE, EDGE = 340, 14  # of a graph, and its margin
ACROSS = 50  # images in a row of the sheet that holds them all
METHODS = ("Published: t-SNE to 2 values", "Published: PCA to 50 values", "Mean-sigma item by item", "Ours: two axes, held-out items")


@dataclass(frozen=True)
class Dots:
    """The points of a graph: training, incoming (N, 2), (M, 2), with labels, images (N, 8, 8) uint8, and which incoming are outliers."""

    training: Array
    training_labels: Array
    training_images: Array
    incoming: Array
    incoming_labels: Array
    incoming_images: Array
    outlier: Array
    centers: Array


@dataclass(frozen=True)
class Graph:
    """An incoming set: its name, what it is, how much of it the model has right, how many items are of its classes.

    opinions: of each of METHODS, in their order.
    """

    name: str
    what: str
    accuracy: float
    known: int
    opinions: tuple[Opinion, ...]
    dots: Dots

    @property
    def published(self) -> Opinion:
        """What the published method says, by t-SNE."""
        return self.opinions[0]

    @property
    def ours(self) -> Opinion:
        """What our rule says."""
        return self.opinions[-1]


@dataclass(frozen=True)
class Story:
    """All that the page shows. training, held_out: numbers of items. alpha: the share of normal items that our rule flags."""

    classes: tuple[str, ...]
    training: int
    held_out: int
    alpha: float
    graphs: tuple[Graph, ...]


def story_facts(story: Story) -> dict[str, Any]:
    """The figures as plain values, by level and method, without the points."""
    return {
        "classes": story.classes,
        "training": story.training,
        "held_out": story.held_out,
        "published_threshold": THRESHOLD,
        "levels": [
            {
                "name": graph.name,
                "what": graph.what,
                "accuracy": graph.accuracy,
                "known": graph.known,
                "methods": [
                    {
                        "method": name,
                        "diversity": opinion.diversity,
                        "low": opinion.low,
                        "high": opinion.high,
                        "similarity": opinion.similarity,
                        "advice": {part.question: {"answer": part.answer, "headline": part.headline} for part in opinion.advice},
                    }
                    for name, opinion in zip(METHODS, graph.opinions, strict=True)
                ],
            }
            for graph in story.graphs
        ],
    }


def story_text(story: Story) -> str:
    """The scores and the advice for the terminal."""
    lines = [f"{'diversity score':<36}" + "".join(f"{graph.name:>22}" for graph in story.graphs)]
    for place, name in enumerate(METHODS):
        cells = [graph.opinions[place] for graph in story.graphs]
        lines.append(
            f"{name:<36}"
            + "".join(f"{f'{percent(opinion.diversity)} ({percent_range(opinion.low, opinion.high)})':>22}" for opinion in cells)
        )
    lines.append(f"{'model right on':<36}" + "".join(f"{percent(graph.accuracy):>22}" for graph in story.graphs))
    for question, title in TITLES.items():
        lines.append(title)
        for name, place in (("published", 0), ("ours", -1)):
            said = [_short(graph.opinions[place], question) for graph in story.graphs]
            lines.append(f"{'  ' + name:<36}" + "".join(f"{answer:>22}" for answer in said))
    return "\n".join(lines)


def write_story(story: Story, folder: Path) -> None:
    """Write story.html and story.json into the folder. Raises OutputError if they cannot be written."""
    program = bundle("elements.js", "theme_button.js", "story.js")
    pieces = template("story.html").generate(
        story=story,
        drawn=[_drawn(graph, place, story) for place, graph in enumerate(story.graphs)],
        methods=list(enumerate(METHODS)),
        titles=TITLES,
        badge=_badge,
        in_short=_in_short,
        ordered=all(_rise([graph.opinions[place].diversity for graph in story.graphs]) for place in range(len(METHODS))),
        row=_interval,
        limits=lambda opinion: percent_range(opinion.low, opinion.high),
        why=WHY_OURS_DIFFERS,
        threshold=THRESHOLD,
        sheet=Markup('.story-picture {{ background-image: url("{}"); }}').format(Markup(picture(_sheet(story)))),
        points=Markup(json.dumps(_points(story), ensure_ascii=True).replace("<", "\\u003c")),
        **frame(program, "story.css"),
    )
    write_page(pieces, folder / PAGE)
    write_page([json_text(story_facts(story))], folder / FIGURES)


def _short(opinion: Opinion, question: str) -> str:
    advice = next(part for part in opinion.advice if part.question == question)
    return badge_of(advice.answer, advice.headline)[0]


def _rise(scores: Sequence[float]) -> bool:
    return list(scores) == sorted(set(scores))


def _in_short(graph: Graph) -> str:
    """What our advice comes to for a set."""
    answers = {part.question: part.answer for part in graph.ours.advice}
    if answers["train"] == "yes":
        return "label some of it and train on it, then deploy."
    if answers["deploy"] == "yes":
        return "deploy the model; training on it would add nothing."
    if PERSON_FIRST in {part.headline for part in graph.ours.advice}:
        return "a person looks first."
    return "more items decide."


def _badge(opinion: Opinion, question: str) -> tuple[str, str, str]:
    """Badge, what stands beside it, and the reason."""
    advice = next(part for part in opinion.advice if part.question == question)
    return (*badge_of(advice.answer, advice.headline), advice.reason)


def _interval(opinion: Opinion) -> Markup:
    described = f"{percent(opinion.diversity)} strange, likely {percent_range(opinion.low, opinion.high)}"
    colour = "c-outlier" if opinion.diversity > THRESHOLD else "c-auto"
    return interval_row(opinion.diversity, opinion.low, opinion.high, float("nan"), 1.0, described, colour)


def _scaled(dots: Dots) -> tuple[Array, Array, Array]:
    """Training, incoming and centers in the graph's square, one scale for both axes."""
    everything = np.vstack([dots.training, dots.incoming])
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = (SIDE - 2 * EDGE) / max(float((high - low).max()), 1e-9)
    shift = EDGE + ((SIDE - 2 * EDGE) - (high - low) * scale) / 2
    training, incoming, centers = ((part - low) * scale + shift for part in (dots.training, dots.incoming, dots.centers))
    return training, incoming, centers


def _drawn(graph: Graph, place: int, story: Story) -> Markup:
    """The graph: training points, incoming ones that fit, incoming ones that do not, and the name of each class at its center."""
    training, incoming, centers = _scaled(graph.dots)
    outlier = graph.dots.outlier
    fits, strange = int((~outlier).sum()), int(outlier.sum())
    described = (
        f"{story.training} training points in {len(story.classes)} clusters; of {len(incoming)} incoming points {fits} lie within"
        f" the clusters and {strange} outside. Arrow keys walk through the incoming points."
    )
    layers = [
        Markup('<path class="story-dots {}" d="{}"/>').format(kind, _path(points))
        for kind, points in (("story-training", training), ("story-fits", incoming[~outlier]), ("story-strange", incoming[outlier]))
    ]
    names = [
        Markup('<text class="story-class" x="{:.0f}" y="{:.0f}">{}</text>').format(x, y + 5, name)
        for name, (x, y) in zip(story.classes, centers, strict=True)
    ]
    head = Markup('<svg class="story-graph" data-graph="{}" tabindex="0" role="img" aria-label="{}" viewBox="0 0 {} {}">').format(
        place, f"{graph.name.capitalize()} diversity. {described}", SIDE, SIDE
    )
    mark = Markup('<circle class="story-mark" r="7" cx="-20" cy="-20"/>')
    return head + Markup("").join([*layers, *names]) + mark + Markup("</svg>")


def _path(points: Iterable[Array]) -> str:
    """Dots as strokes of no length with round ends: one element for hundreds of them."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)


def _points(story: Story) -> list[list[list[Any]]]:
    """For each graph its points as the script needs them: x, y, place on the sheet, words."""
    found = []
    after = len(story.graphs[0].dots.training)
    for graph in story.graphs:
        dots = graph.dots
        training, incoming, _ = _scaled(dots)
        rows = [
            [round(float(x), 1), round(float(y), 1), place, f"training, {label}"]
            for place, ((x, y), label) in enumerate(zip(training, dots.training_labels, strict=True))
        ]
        for place, ((x, y), label, outlier) in enumerate(zip(incoming, dots.incoming_labels, dots.outlier, strict=True)):
            said = f"incoming, {label or 'none of the classes'}: {'strange' if outlier else 'fits'}"
            rows.append([round(float(x), 1), round(float(y), 1), after + place, said])
        after += len(incoming)
        found.append(rows)
    return found


def _sheet(story: Story) -> bytes:
    """All images on one PNG, the training images first, then those of each graph."""
    images = np.concatenate([story.graphs[0].dots.training_images, *(graph.dots.incoming_images for graph in story.graphs)])
    rows = -(-len(images) // ACROSS)
    padded = np.zeros((rows * ACROSS, *images.shape[1:]), dtype=np.uint8)
    padded[: len(images)] = images
    height, width = images.shape[1:]
    sheet = padded.reshape(rows, ACROSS, height, width).swapaxes(1, 2).reshape(rows * height, ACROSS * width)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG", optimize=True)
    return file.getvalue()
