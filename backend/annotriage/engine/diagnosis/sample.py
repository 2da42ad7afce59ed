"""The items of a dataset that are worth looking at, each with the reason, and how far answers on them can be trusted."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotriage.advice.sample_words import caught_sentence, cluster_name, quality_sentence, why_sentence
from annotriage.data import Source
from annotriage.diagnosis.query_sets import Accuracy, accuracy, answers
from annotriage.diagnosis.ratios import told
from annotriage.diagnosis.samplers import Method, check, choose
from annotriage.diagnosis.view import UNLABELLED, Chosen
from annotriage.engine.diagnosis.inside import Inside, look_inside
from annotriage.engine.reference import Reference
from annotriage.errors import SettingError
from annotriage.model import Model
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings


@dataclass(frozen=True)
class SampledItem:
    """One item of a sample. label: what people say, "" if nothing; correct: None then. ratio: at most 1,000. ratio, weight: None where the
    method has none."""

    id: str
    path: str
    label: str
    predicted: str
    correct: bool | None
    cluster: str
    ratio: float | None
    weight: float | None
    why: str


@dataclass(frozen=True)
class DiagnosisSample:
    """A sample of a dataset for looking into a model.

    total: items that it was chosen from. wrong, caught: how many of those the model has wrong, and how many of them are in the sample.
    accuracy: how true its answers to S1-S3 are beside those of all items; None if nothing is labelled. notes: what was left out.
    """

    dataset: str
    method: str
    items: tuple[SampledItem, ...]
    total: int
    labelled: int
    wrong: int
    caught: int
    accuracy: Accuracy | None
    notes: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What there is to say about it."""
        chosen = f"{len(self.items):,} of {self.total:,} items of {self.dataset} chosen by {self.method}."
        return chosen, caught_sentence(self.caught, self.wrong, self.labelled), quality_sentence(self.accuracy, self.total)

    def summary(self) -> dict[str, Any]:
        """The figures as plain values, without the items."""
        figures = {key: value for key, value in asdict(self).items() if key != "items"}
        return {**figures, "size": len(self.items), "sentences": list(self.sentences)}


def sample(
    reference: Reference,
    data: Source,
    method: str = Method.MAX_MARGIN,
    share: float | None = None,
    *,
    outlier_share: float | None = None,
    weighted: bool = False,
    boundary_first: bool = False,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> DiagnosisSample:
    """Choose the items of a dataset to look at when you ask why the model errs.

    method: "max-margin" finds most errors of the published ones; "errors-first" takes all of them where everything is labelled; "uniform"
    where plain averages must be unbiased. share: of the items, 0.05 by default; "boundary-tree" has a size of its own. outlier_share,
    weighted: as of `annotriage.diagnosis.samplers.choose`. boundary_first: list those nearest to a boundary between classes first, for
    people who go through them from the top; for methods that know ratios. The others: as of `annotriage.triage`; the setting seed draws the
    sample.
    Source: Mehta et al., Sampling for Deep Learning Model Diagnosis, 2020.
    Raises SettingError, DataError, FitError, ModelError, MismatchError.
    """
    by = method_named(method)
    check(by, share, outlier_share, weighted)
    if boundary_first and not by.by_ratio:
        known = ", ".join(one for one in Method if one.by_ratio)
        raise SettingError(
            f"boundary_first: method {by} does not know how near to a boundary an item is; leave it out, or take one of {known}"
        )
    settings = settings or reference.settings
    inside = look_inside(reference, data, model=model, settings=settings, labeling_config=labeling_config, server=server, progress=progress)
    with progress(f"choosing by {by}", None):
        rng = np.random.default_rng(settings.seed)
        chosen = choose(inside.view, by, share, outlier_share=outlier_share, weighted=weighted, rng=rng)
        found = sample_of(inside, by, chosen)
    return replace(found, items=tuple(found.items[place] for place in chosen.boundary_first)) if boundary_first else found


def method_named(method: str) -> Method:
    """The sampler of this name. Raises SettingError naming those that there are."""
    try:
        return Method(method)
    except ValueError:
        raise SettingError(f"method: {method!r} is none of {', '.join(Method)}") from None


def sample_of(inside: Inside, method: Method, chosen: Chosen) -> DiagnosisSample:
    """What was chosen, with words and figures."""
    view = inside.view
    items = []
    for place, row in enumerate(chosen.rows.tolist()):
        ratio, weight = float(chosen.ratio[place]), float(chosen.weight[place])
        cluster = cluster_name(method, int(chosen.cluster[place]), inside.names)
        truth = int(view.truth[row])
        items.append(
            SampledItem(
                inside.ids[row],
                inside.paths[row],
                "" if truth == UNLABELLED else inside.names[truth],
                inside.names[int(view.predicted[row])],
                None if truth == UNLABELLED else not bool(view.wrong[row]),
                cluster,
                told(ratio),
                None if math.isnan(weight) else weight,
                why_sentence(chosen.why[place], cluster, ratio),
            )
        )
    full = answers(inside.layers, view.truth, view.wrong)
    mine = answers(inside.layers, view.truth, view.wrong, chosen.rows)
    return DiagnosisSample(
        inside.dataset,
        str(method),
        tuple(items),
        len(view),
        int(view.labelled.sum()),
        int(view.wrong.sum()),
        int(view.wrong[chosen.rows].sum()),
        accuracy(full, mine),
        inside.notes,
    )
