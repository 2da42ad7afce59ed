"""The attribution graph of one class, or of two side by side: which channels it is recognised by, layer by layer, and what excites them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.attribution_words import connection_sentence, graph_sentence, shared_sentence
from annotriage.data import Dataset, Item, Source, open_dataset
from annotriage.diagnosis.attribution import ClassGraph, class_graph
from annotriage.diagnosis.influences import aggregated_activations, aggregated_influences, contributions, highest, together
from annotriage.engine.diagnosis.item_batches import item_batches
from annotriage.engine.diagnosis.patches import boxes_of, patch
from annotriage.engine.labels import LabelSpace
from annotriage.engine.reference import Reference
from annotriage.engine.sampling import SeededSample
from annotriage.errors import DataError, ModelError, SettingError
from annotriage.model import Model, connections, load_model, steps_of
from annotriage.model.connecting_weights import Connection
from annotriage.model.layers import tensor_of, way_through
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import stream
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

LAYERS = 9  # at most, besides the answer
ITEMS = 200  # of each class at most; a seeded sample of more
FEWEST = 5  # items of a class from which its graph can be drawn
PATCHES = 6  # shown of a channel
BATCH = 16  # items at a time: whole feature maps are large
PAIRS = 2**22  # channels of two layers at a time where no weights are looked at: each takes some numbers of eight bytes
CONTENTS = 2**28  # bytes of images that are held for their patches


@dataclass(frozen=True)
class Patch:
    """What excites a channel. label: what people call the item, or the model where nobody does. picture: encoded, b"" without an image."""

    id: str
    label: str
    value: float
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class GraphLayer:
    """One layer of the graph. channels: how many it has. connected: to the layer before, by "weights" or "correlation"; "" of the first."""

    name: str
    channels: int
    connected: str


@dataclass(frozen=True)
class AttributionGraph:
    """What was found. classes: one or two. items: of each, how many it rests on. labelled: whether people or the model said of which class.

    layers: in the model's order, the last the model's answers. graphs: one for each class. patches: of each vertex of any, by layer and
    channel, what excites it most first.
    """

    dataset: str
    reference: str
    model: str
    classes: tuple[str, ...]
    answers: tuple[str, ...]
    items: tuple[int, ...]
    labelled: bool
    layers: tuple[GraphLayer, ...]
    graphs: tuple[ClassGraph, ...]
    patches: dict[tuple[int, int], tuple[Patch, ...]] = field(repr=False)
    notes: tuple[str, ...]

    def name_of(self, layer: int, channel: int) -> str:
        """What to call a vertex."""
        return self.answers[channel] if layer == len(self.layers) - 1 else f"channel {channel}"

    @property
    def sentences(self) -> list[str]:
        """What there is to say about it."""
        said = [graph_sentence(self.classes, self.items, self.labelled)]
        if len(self.graphs) == 2:
            mine, its = ({(vertex.layer, vertex.channel) for vertex in graph.vertices} for graph in self.graphs)
            both = [[sum(at == layer for at, _ in keys) for keys in (mine & its, mine | its)] for layer in range(len(self.layers) - 1)]
            said.append(shared_sentence(self.classes, [layer.name for layer in self.layers[:-1]], both))
        said.append(connection_sentence([(layer.name, layer.connected) for layer in self.layers]))
        return said

    def summary(self) -> dict[str, Any]:
        """The figures as plain values."""
        return {
            "dataset": self.dataset,
            "reference": self.reference,
            "model": self.model,
            "layers": [asdict(layer) for layer in self.layers],
            "classes": [
                {
                    "name": name,
                    "items": items,
                    "vertices": [
                        {
                            **asdict(vertex),
                            "name": self.name_of(vertex.layer, vertex.channel),
                            "items": [shown.id for shown in self.patches[vertex.layer, vertex.channel]],
                        }
                        for vertex in graph.vertices
                    ],
                    "edges": [asdict(edge) for edge in graph.edges],
                }
                for name, items, graph in zip(self.classes, self.items, self.graphs, strict=True)
            ],
            "sentences": self.sentences,
            "notes": list(self.notes),
        }


def attribution_graph(
    reference: Reference,
    data: Source,
    kind: str,
    against: str | None = None,
    layers: Sequence[str] = (),
    *,
    model: ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> AttributionGraph:
    """Which channels of which layers a class is recognised by, and how they hang together.

    kind: the class. against: another one to set beside it. layers: names, as `annotriage layers` lists them, in the model's order; by
    default up to nine behind activation functions, spread over the depth. Items count as of a class by their labels; where the data have
    none, by what the model calls them, outliers left out. At most 200 of each class are taken, at random. Two layers are connected by what
    each channel puts through the weights between them; where there is more than one layer of weights between them, by how far channels
    rise together. The rest as of `annotriage.triage`.
    Source: Hohman et al., Summit, IEEE TVCG 2020.
    Raises SettingError for a class that the model does not know, DataError with fewer than five items of it, ModelError, MismatchError.
    """
    settings = settings or reference.settings
    space = reference.space
    asked = _asked(space, kind, against)
    opened = reference.open_model(model, settings)
    dataset = open_dataset(data, labeling_config=labeling_config, classes=space.classes, server=server)
    dataset = _open_items(dataset.renamed(dict(opened.spec.aliases)))
    chosen, labelled = _chosen(reference, opened, dataset, asked, settings, progress)
    names, walked, linked = _walk(opened, layers, settings)
    seen = _look(walked, linked, len(names), dataset, chosen, asked, settings, progress)
    pictured = walked.spec.input.kind == "image"
    boxes = [boxes_of(walked, place) if pictured and mapped else None for place, mapped in enumerate(seen.mapped)]
    graphs, counts = [], []
    for place in range(len(asked)):
        rows = np.flatnonzero(seen.kinds[:, place])
        if len(rows) < FEWEST:
            raise DataError(f"{dataset.name}: {_few(len(rows), space.classes[asked[place]], labelled)}")
        used = [aggregated_activations(maxima[rows]) for maxima in seen.maxima]
        influences = [
            _correlated(earlier, later, rows) if counted is None else counted[place]
            for earlier, later, counted in zip(seen.maxima, seen.maxima[1:], seen.influences, strict=False)
        ]
        graphs.append(class_graph(used, influences, len(rows), asked[place]))
        counts.append(len(rows))
    shown = sorted({(vertex.layer, vertex.channel) for graph in graphs for vertex in graph.vertices})
    last = len(names) - 1
    described = [
        GraphLayer(name, maxima.shape[1], "" if place == 0 else "weights" if seen.influences[place - 1] is not None else "correlation")
        for place, (name, maxima) in enumerate(zip(names, seen.maxima, strict=True))
    ]
    described[-1] = replace(described[-1], name="answer")
    return AttributionGraph(
        dataset.name,
        reference.name,
        reference.model.name,
        tuple(space.classes[index] for index in asked),
        space.classes,
        tuple(counts),
        labelled,
        tuple(described),
        tuple(graphs),
        {(layer, channel): () if layer == last else _patches(seen, boxes[layer], layer, channel, space) for layer, channel in shown},
        (*dataset.notes, *walked.notes, *_notes(seen)),
    )


def _asked(space: LabelSpace, kind: str, against: str | None) -> list[int]:
    for name in (kind, against):
        if name is not None and name not in space.classes:
            meant = space.meant(name)
            hint = f"; did you mean {meant!r}?" if meant else ""
            raise SettingError(f"class {name!r} is none of the model's ({', '.join(space.classes)}){hint}")
    if kind == against:
        raise SettingError(f"class {kind!r} cannot be compared with itself; name another one with --against")
    return [space.classes.index(name) for name in (kind, against) if name is not None]


def _open_items(dataset: Dataset) -> Dataset:
    """Without the spot checks that nobody has answered: what they are is shown nowhere."""
    return replace(dataset, count=None, read=lambda: (item for item in dataset if not (item.spot_check and item.labels is None)))


def _few(count: int, name: str, labelled: bool) -> str:
    how = "labelled as" if labelled else "taken by the model for"
    return f"{count} {'item is' if count == 1 else 'items are'} {how} {name}, too few for a graph of this class; give at least {FEWEST}"


def _chosen(
    reference: Reference, model: Model, dataset: Dataset, asked: list[int], settings: Settings, progress: Progress
) -> tuple[dict[str, tuple[bool, ...]], bool]:
    """The ids of the items to look at, each with whether it is of the classes that are asked for; and whether people said so."""
    space = reference.space
    samples: list[SeededSample[str]] = [SeededSample(ITEMS, settings.seed, "graph") for _ in (*asked, None)]
    of: dict[str, tuple[bool, ...]] = {}

    def offer(id: str, labels: Sequence[int]) -> None:
        belongs = tuple(index in labels for index in asked)
        of[id] = belongs
        for sample, mine in zip(samples, (*belongs, not any(belongs)), strict=True):
            if mine:
                sample.offer(id, lambda: id)

    labelled = False
    with progress(f"labels of {dataset.name}", dataset.count) as advance:
        for item in dataset:
            labels = space.known_or_foreign(item)
            if labels is not None:
                labelled = True
                offer(item.id, labels)
            advance(1)
    if not labelled:
        with progress(f"items of {dataset.name}", dataset.count) as advance:
            for batch in stream(model, dataset, settings):
                if batch.outputs is not None:
                    judged = reference.judge(batch.outputs)
                    for row, answer, strange in zip(batch.rows, judged.labels, judged.outlier, strict=True):
                        if not strange:
                            offer(batch.items[row].id, answer)
                advance(len(batch.items))
    for index, sample in zip(asked, samples, strict=False):
        if len(sample.values()) < FEWEST:
            raise DataError(f"{dataset.name}: {_few(len(sample.values()), space.classes[index], labelled)}")
    return {id: of[id] for sample in samples for id in sample.values()}, labelled


def _walk(model: Model, layers: Sequence[str], settings: Settings) -> tuple[tuple[str, ...], Model, list[Connection | None]]:
    """The layers of the graph, a model that gives them and what enters the weights between them, and these connections."""
    steps, output = steps_of(model.spec)
    found = way_through(steps, output, model.spec, LAYERS)
    places = {step.output: place for place, step in enumerate(steps)}
    names = (*sorted(set(layers) - {found[-1]}, key=lambda name: places.get(tensor_of(name), 0)), found[-1]) if layers else found
    if len(names) < 2:
        raise ModelError(f"{model.spec.path}: {model.spec.model_path.name} has no hidden layer that a graph could be drawn of")
    linked = connections(model.spec, names)
    entering = [link.entering for link in linked if link is not None]
    wanted = tuple(dict.fromkeys((*names, *entering)))
    spec = replace(model.spec, layer=wanted)
    return names, load_model(spec, settings.device), linked


@dataclass
class _Seen:
    """What was looked at: n items. maxima: of each layer (n, C); at: where they lie. kinds: (n, classes asked for) bool.

    mapped: which layers are maps in the plane. influences: of each connection, for each class (C, D) counts; None of those without
    weights. predicted: (n,) what the model says.
    """

    items: list[Item]
    contents: list[Array]
    kinds: Array
    maxima: list[Array]
    at: list[Array]
    mapped: list[bool]
    influences: list[list[Array] | None]
    predicted: list[int]
    failures: list[str]


def _look(
    model: Model,
    linked: list[Connection | None],
    depth: int,
    dataset: Dataset,
    chosen: dict[str, tuple[bool, ...]],
    asked: list[int],
    settings: Settings,
    progress: Progress,
) -> _Seen:
    places = {name: place for place, name in enumerate(model.layers)}
    items: list[Item] = []
    contents: list[Array] = []
    failures: list[str] = []
    kinds: list[Array] = []
    maxima: list[list[Array]] = [[] for _ in range(depth)]
    at: list[list[Array]] = [[] for _ in range(depth)]
    influences: list[list[Array] | None] = [None] * len(linked)
    mapped = [False] * depth
    with progress("looking at feature maps", len(chosen)) as advance:
        for batch in item_batches(dataset, chosen.keys(), model.spec, settings, model.fixed_batch or BATCH):
            failures += batch.failures
            if batch.items:
                maps = model.run_whole(batch.tensors).layers
                belongs = np.array([chosen[item.id] for item in batch.items])
                for layer in range(depth):
                    values, where = highest(maps[layer])
                    mapped[layer] = maps[layer].ndim == 4
                    maxima[layer].append(values)
                    at[layer].append(where)
                for place, link in enumerate(linked):
                    if link is None or link.kernel.shape[1] != maps[place].shape[1]:
                        continue
                    _count(influences, place, link, maps[places[link.entering]], belongs, len(asked))
                items += batch.items
                kinds.append(belongs)
                held = sum(content.nbytes for content in contents)
                contents += [content if held < CONTENTS else np.empty(0) for content in batch.contents]
            advance(len(batch.items) + len(batch.failures))
    if not items:
        raise DataError(f"{dataset.name}: none of its items could be used{': ' + failures[0] if failures else ''}")
    joined = [np.concatenate(parts) for parts in maxima]
    predicted = joined[-1].argmax(axis=1).tolist()
    places_of = [np.concatenate(parts) for parts in at]
    return _Seen(items, contents, np.concatenate(kinds), joined, places_of, mapped, influences, predicted, failures)


def _count(influences: list[list[Array] | None], place: int, link: Connection, entering: Array, belongs: Array, classes: int) -> None:
    """Add what the items of a batch do through one connection."""
    mine = belongs.any(axis=1)
    if not mine.any():
        return
    shape = (int(mine.sum()), link.kernel.shape[1], *entering.shape[2:])
    if entering.ndim == 2 and link.kernel.ndim > 2:  # laid flat
        shape = (shape[0], *link.kernel.shape[1:])
    counts = influences[place] or [np.zeros(link.kernel.shape[1::-1], dtype=np.intp) for _ in range(classes)]
    influences[place] = counts
    for item, kinds in zip(entering[mine].reshape(shape), belongs[mine], strict=True):  # one by one: each takes channels times channels
        done = aggregated_influences(contributions(item[None], link.kernel, link.strides, link.pads, link.dilations))
        for number in np.flatnonzero(kinds).tolist():
            counts[number] += done


def _correlated(earlier: Array, later: Array, rows: Array) -> Array:
    """Influences where there are no weights to look at: (C, D) counts. earlier, later: maxima of all items."""
    statistics = [(values.mean(axis=0), values.std(axis=0)) for values in (earlier, later)]
    middle, spread = zip(*statistics, strict=True)
    counts = np.zeros((earlier.shape[1], later.shape[1]), dtype=np.intp)
    step = max(1, PAIRS // counts.size)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        counts += aggregated_influences(together(earlier[part], later[part], middle, spread))
    return counts


def _patches(seen: _Seen, boxes: Array | None, layer: int, channel: int, space: LabelSpace) -> tuple[Patch, ...]:
    values = seen.maxima[layer][:, channel]
    found = []
    for row in np.argsort(-values, kind="stable")[:PATCHES].tolist():
        if values[row] <= 0:
            break
        item = seen.items[row]
        called = _called(item, space) if item.labels is not None else space.classes[seen.predicted[row]]
        found.append(Patch(item.id, called, float(values[row]), patch(seen.contents[row], boxes, int(seen.at[layer][row, channel]))))
    return tuple(found)


def _called(item: Item, space: LabelSpace) -> str:
    """What people call an item; by its class's name where they gave a number."""
    known = range(len(space.classes))
    return " + ".join(space.classes[label] if isinstance(label, int) and label in known else str(label) for label in item.labels or ())


def _notes(seen: _Seen) -> list[str]:
    if not seen.failures:
        return []
    return [f"{len(seen.failures):,} items could not be used and were left out: {'; '.join(seen.failures[:3])}"]
