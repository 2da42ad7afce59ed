"""Look-alikes: items that resemble one another, of which people answer some, drawn at random, and the rest get the same label at once.

Also for classes that the model does not know: the label is what people say, not what the model says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Source, open_dataset
from annotriage.engine.reference import Reference
from annotriage.errors import DataError, StateError
from annotriage.guarantee.conformal import hashed_places
from annotriage.guarantee.look_alikes import Look, Standing, confidence_of_half, least_members, looks, standing
from annotriage.latent.groups import find_groups
from annotriage.latent.maps import nearest_training
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import stream
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

GROUP_ERROR = 0.05
COUNT = 200
SMALLEST = 20  # members of a half that is worth asking about by itself


@dataclass(frozen=True)
class LookAlikes:
    """A group that may be labelled at once. ids, paths: of its M members, in the order in which they are drawn. points: (M, n) float32.

    why: what makes them a group, in words. group_error, confidence: of the statement about the rest. seed: of the draw.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    points: Array
    why: str
    group_error: float = GROUP_ERROR
    confidence: float = 0.95
    seed: int = 0

    @property
    def looks(self) -> tuple[Look, ...]:
        """After how many answers it is looked, and how many may disagree."""
        return looks(len(self.ids), self.group_error, self.confidence)


@dataclass(frozen=True)
class LabelledAtOnce:
    """What answers say of a group. label: the group's, None while nobody has answered. rest: ids that may get it now, without an answer."""

    label: str | None
    standing: Standing
    rest: tuple[str, ...]


def look_alikes(
    reference: Reference,
    data: Source,
    *,
    like: str | None = None,
    group: int | None = None,
    ids: Sequence[str] | None = None,
    count: int = COUNT,
    group_error: float = GROUP_ERROR,
    model: ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> LookAlikes:
    """The items of a dataset that form a group: the `count` most similar to the item `like`, an outlier group, or those named by `ids`.

    group: its number, as in the report of a triage. Similar: near each other in the compressed space. group_error: share of the rest that
    may have another label at most. Raises DataError if there is no such item or group; StateError if so small a group is not worth it.
    """
    if sum(choice is not None for choice in (like, group, ids)) != 1:
        raise DataError("say which items: one of like (an item's id), group (the number of a group of strange items) or ids")
    settings = settings or reference.settings
    dataset = open_dataset(data, labeling_config=labeling_config, classes=reference.space.classes, server=server)
    opened = reference.open_model(model, settings)
    found_ids: list[str] = []
    paths: list[str] = []
    points, outliers = [], []
    with progress(f"reading {dataset.name}", dataset.count) as advance:
        for batch in stream(opened, dataset, settings):
            if batch.outputs is not None:
                judged = reference.judge(batch.outputs)
                points.append(judged.compressed.astype(np.float32))
                outliers.append(judged.outlier)
                found_ids += [batch.items[row].id for row in batch.rows]
                paths += [batch.items[row].path for row in batch.rows]
            advance(len(batch.items))
    if not found_ids:
        raise DataError(f"{dataset.name}: none of its items could be scored")
    places = {id: place for place, id in enumerate(found_ids)}
    whole = np.concatenate(points)
    if like is not None:
        members, why = _nearest(like, places, whole, count, dataset.name), f"the {count} most similar to {like}"
    elif group is not None:
        members, why = (
            _of_group(group, whole, np.concatenate(outliers), dataset.name),
            f"group {group} of the strange items of {dataset.name}",
        )
    else:
        members, why = _named(ids or (), places, dataset.name), f"items chosen in {dataset.name}"
    names = [found_ids[row] for row in members]
    drawn = members[np.argsort(hashed_places(names, settings.seed, "look-alikes"), kind="stable")]
    chosen = tuple(found_ids[row] for row in drawn), tuple(paths[row] for row in drawn)
    return worth_asking(LookAlikes(*chosen, whole[drawn], why, group_error, reference.settings.confidence, settings.seed))


def worth_asking(group: LookAlikes) -> LookAlikes:
    """The group, if answering at most half of it can be enough. Raises StateError with the number that would be."""
    if group.looks:
        return group
    enough = least_members(group.group_error, group.confidence)
    fix = f"it takes {enough} like these" if enough else "allow a larger group_error"
    raise StateError(
        f"{group.why}: {len(group.ids)} items are too few to label at once, for more than half of them would have to be answered; {fix}."
        " Answer these one by one"
    )


def judge_answers(group: LookAlikes, answers: Sequence[str]) -> LabelledAtOnce:
    """What the answers on the first members, in the order of the draw, allow. The label is what most of them say."""
    if len(answers) > len(group.ids):
        raise DataError(f"{group.why}: {len(answers)} answers on {len(group.ids)} members; give one answer each")
    label = Counter(answers).most_common(1)[0][0] if answers else None
    state = standing(len(group.ids), [answer == label for answer in answers], group.group_error, group.confidence)
    return LabelledAtOnce(label, state, group.ids[len(answers) :] if state.shown else ())


def split(group: LookAlikes, answers: Sequence[str]) -> tuple[LookAlikes, LookAlikes]:
    """The members that nobody answered in two halves by their points, each with fresh answers and its share of the level.

    Raises StateError if the halves are too small to be worth asking about.
    """
    from sklearn.cluster import KMeans

    rest = np.arange(len(answers), len(group.ids))
    taken = sum(look.size <= len(answers) for look in group.looks)
    side = KMeans(2, n_init=4, random_state=group.seed).fit_predict(group.points[rest]) if len(rest) > 1 else np.zeros(len(rest), int)
    halves = [rest[side == place] for place in (0, 1)]
    if min(map(len, halves)) < SMALLEST:
        raise StateError(f"{group.why}: its points do not part in two groups of {SMALLEST} and more; answer the rest one by one")
    confidence = confidence_of_half(group.confidence, max(taken, 1))
    first, second = (
        replace(
            group,
            ids=tuple(group.ids[row] for row in half),
            paths=tuple(group.paths[row] for row in half),
            points=group.points[half],
            why=f"{name} half of {group.why}",
            confidence=confidence,
        )
        for name, half in zip(("first", "second"), halves, strict=True)
    )
    return first, second


def _nearest(like: str, places: dict[str, int], points: Array, count: int, name: str) -> Array:
    if like not in places:
        raise DataError(f"{name}: no item {like!r} that could be scored; give the id of one, as in verdicts.csv")
    return np.asarray(nearest_training(points[[places[like]]], points, min(count, len(points)))[0], dtype=np.intp)


def _of_group(number: int, points: Array, outliers: Array, name: str) -> Array:
    strange = np.flatnonzero(outliers)
    groups = find_groups(points[strange])
    if not 1 <= number <= len(groups):
        raise DataError(f"{name}: no group {number} of strange items; there are {len(groups)} among {len(strange)} of them")
    return np.asarray(strange[groups[number - 1].members])


def _named(ids: Sequence[str], places: dict[str, int], name: str) -> Array:
    unknown = [id for id in ids if id not in places]
    if unknown:
        raise DataError(f"{name}: no item {unknown[0]!r} that could be scored, and {len(unknown) - 1} more")
    return np.array([places[id] for id in dict.fromkeys(ids)], dtype=np.intp)
