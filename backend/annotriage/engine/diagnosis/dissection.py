"""Network dissection: which units of a model stand for which concept, by masks of where it is or labels of whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotriage.advice.attribution_words import detectors_sentence, multiplicity_sentence, ranking_sentence, unreachable_sentence
from annotriage.data import Source, open_dataset
from annotriage.data.concepts import ConceptLabels, Masks, open_concepts, open_masks
from annotriage.diagnosis.dissection import LEAST, QUANTILE, highest_iou
from annotriage.engine.diagnosis.concept_labels import by_labels
from annotriage.engine.diagnosis.concept_masks import by_masks
from annotriage.engine.diagnosis.concepts import Concept, ConceptRun, DissectedLayer
from annotriage.engine.reference import Reference
from annotriage.errors import SettingError
from annotriage.model import load_model, steps_of
from annotriage.model.layers import way_through
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

LAYERS = 9  # at most, by default


@dataclass(frozen=True)
class Dissection:
    """What was found. by: "masks" or "labels". items: that were looked at. level: of each interval of an AUROC, NaN with masks."""

    dataset: str
    reference: str
    model: str
    by: str
    items: int
    concepts: tuple[Concept, ...]
    layers: tuple[DissectedLayer, ...]
    quantile: float
    level: float
    comparisons: int
    notes: tuple[str, ...]

    @property
    def sentences(self) -> list[str]:
        """What there is to say about it."""
        if self.by == "masks":
            said = [
                detectors_sentence(
                    layer.name,
                    len(layer.detectors),
                    layer.units,
                    len(self.concepts),
                    len({unit.concept for unit in layer.detectors}),
                    LEAST,
                )
                for layer in self.layers
            ]
            blocked = [c.name for c in self.concepts if c.coverage > 0 and float(highest_iou(np.array(c.coverage), self.quantile)) < LEAST]
            return said + ([unreachable_sentence(blocked, self.quantile, LEAST)] if blocked else [])
        said = []
        for concept in self.concepts:
            found = [(layer.name, unit) for layer in self.layers for unit in layer.found if unit.concept == concept.name]
            if found:
                name, best = max(found, key=lambda entry: abs(entry[1].value - 0.5))
                said.append(ranking_sentence(name, concept.name, best.unit, best.value, best.low, best.high))
        return [*said, multiplicity_sentence(self.comparisons, self.level)]

    def summary(self) -> dict[str, Any]:
        """The figures as plain values."""
        plain = asdict(self)
        for layer in plain["layers"]:
            for unit in layer["found"]:
                unit["examples"] = [example["id"] for example in unit["examples"]]
        return plain | {"sentences": self.sentences}


def dissect(
    reference: Reference,
    data: Source,
    *,
    masks: Path | str | None = None,
    concepts: ConceptLabels | Path | str | None = None,
    layers: Sequence[str] = (),
    quantile: float = QUANTILE,
    model: ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Dissection:
    """Hold the units of a model against concepts that people name.

    masks: a folder with a folder of pictures for each concept, `concept/item.png`, where what is not black is the concept; an item with a
    mask of any concept counts for all of them. A unit is active where its map, enlarged to the image, exceeds the value that it exceeds at
    the share `quantile` of all places; it is a detector of the concept with the largest intersection over union, if that is above 0.04 and
    twice what chance gives. concepts: instead, a CSV file (or what `read_concepts` made of one) with a column id or path and a column of 1
    and 0 for each concept; each unit, with its mean over all places, is ranked by its AUROC, with intervals that hold for all units and
    concepts together. layers: by default up to nine on the way through the model. quantile: raise it where concepts cover much of the
    image: no unit can match what is many times larger than what it is active on. At most 1,000 items are looked at, drawn at random. The
    rest as of `annotriage.triage`.
    Source: Bau et al., Network Dissection, CVPR 2017.
    Raises SettingError, DataError naming the file, ModelError, MismatchError.
    """
    if (masks is None) == (concepts is None):
        raise SettingError("give either masks (a folder of pictures by concept) or concepts (a CSV file with labels per item)")
    if not 0 < quantile <= 0.5:
        raise SettingError(f"quantile: must be above 0 and at most 0.5, not {quantile:g}; 0.005 is what the method was published with")
    settings = settings or reference.settings
    given: Masks | ConceptLabels
    if masks is not None:
        given = open_masks(Path(masks))
    else:
        given = concepts if isinstance(concepts, ConceptLabels) else open_concepts(Path(concepts or ""))
    dataset = open_dataset(data, labeling_config=labeling_config, classes=reference.space.classes, server=server)
    opened = reference.open_model(model, settings)
    steps, output = steps_of(opened.spec)
    wanted = tuple(dict.fromkeys(layers)) or way_through(steps, output, opened.spec, LAYERS)[:-1]
    walked = load_model(replace(opened.spec, layer=wanted), settings.device)
    run = ConceptRun(walked, dataset, settings, progress)
    chosen, total = run.choose(given)
    found = by_masks(run, given, chosen, quantile) if isinstance(given, Masks) else by_labels(run, given, chosen)
    drawn = f"{total:,} items have concepts; {len(chosen):,} of them, drawn at random, were looked at."
    notes = (*dataset.notes, *walked.notes, *((drawn,) if total > len(chosen) else ()), *found.notes, *run.failed())
    return Dissection(
        dataset.name,
        reference.name,
        reference.model.name,
        "masks" if isinstance(given, Masks) else "labels",
        len(chosen),
        found.concepts,
        found.layers,
        quantile,
        found.level,
        found.comparisons,
        tuple(dict.fromkeys(notes)),
    )
