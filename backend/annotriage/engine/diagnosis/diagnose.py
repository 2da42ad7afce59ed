"""Seven questions about what a model has learned, answered on a dataset or a sample of it: sentences, figures, and how true they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice import diagnosis_words as words
from annotriage.data import Dataset, Item, Source, open_dataset
from annotriage.diagnosis.pictures import Picture
from annotriage.diagnosis.query_sets import Accuracy, accuracy, answers
from annotriage.diagnosis.questions import Query
from annotriage.diagnosis.view import UNLABELLED
from annotriage.engine.diagnosis import questions
from annotriage.engine.diagnosis.banks import bank_or_note
from annotriage.engine.diagnosis.inside import Inside, look_through
from annotriage.engine.diagnosis.sample import method_named
from annotriage.engine.labels import LabelSpace
from annotriage.engine.reference import Reference
from annotriage.errors import DataError, SettingError
from annotriage.guarantee.conformal import hashed_places
from annotriage.model import Model, load_model
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

PILOT = 4_000  # items, about, that a sample is compared with
FACES = 24  # items shown beside an answer


@dataclass(frozen=True)
class Face:
    """An item shown beside an answer. picture: encoded, b"" if it has none."""

    id: str
    label: str
    predicted: str
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class Answered:
    """The answer to one question. sentence: the answer. expected: how true it is. pictures: the figures. faces: items it is about."""

    query: Query
    title: str
    sentence: str
    expected: str
    pictures: tuple[Picture, ...]
    faces: tuple[Face, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """What was found. items: how many it rests on. pilot: how many a sample was compared with, 0 without a sample. notes: warnings."""

    dataset: str
    reference: str
    model: str
    layers: tuple[str, ...]
    items: int
    wrong: int
    pilot: int
    accuracy: Accuracy | None
    answers: tuple[Answered, ...]
    notes: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """The figures as plain values."""
        plain = {key: value for key, value in asdict(self).items() if key != "answers"}
        rows = []
        for answer in self.answers:
            row = {key: value for key, value in asdict(answer).items() if key != "faces"}
            rows.append(row | {"items": [face.id for face in answer.faces]})
        return {**plain, "answers": rows}


def diagnose(
    reference: Reference,
    data: Source,
    queries: Collection[str] = (),
    *,
    sample: Collection[str] | None = None,
    confusion: tuple[str, str] | None = None,
    checkpoints: Sequence[ModelSpec | Path | str] = (),
    other: ModelSpec | Path | str | None = None,
    bank: str | None = None,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Diagnosis:
    """Answer questions about what the reference's model makes of a dataset.

    queries: names of `Query`, all by default; "learned-first" needs `checkpoints` and "model-similarity" needs `other`, and they are left
    out without, as the notes say. sample: ids of the items to answer on, as `annotriage.sample` chose them: seconds instead of minutes on
    large data, and every answer says how true it is, by a comparison with about 4,000 random items. Without it all items are used.
    confusion: (class, the class it is taken for) of "taken-for", by default the most frequent ones. checkpoints: specs of the model at
    earlier moments of its training, oldest first. other: spec of a model to compare layers with. bank: a sampler, such as "max-margin"; of
    the items that an answer is about it chooses those that are shown, by default, and where the data do not allow it, the first. The rest
    as of `annotriage.triage`.
    Source: Mehta et al., Sampling for Deep Learning Model Diagnosis, 2020, table II.
    Raises SettingError for a question that cannot be asked, DataError, ModelError, MismatchError.
    """
    asked = _asked(queries, checkpoints, other)
    if bank is not None:
        method_named(bank)  # before hours of reading
    settings = settings or reference.settings
    space = reference.space
    dataset = open_dataset(data, labeling_config=labeling_config, classes=space.classes, server=server)
    model = reference.open_model(model, settings)
    pair = None if confusion is None else tuple(_class(space, name) for name in confusion)
    wanted = None if sample is None else _sampled_or_pilot(frozenset(sample), dataset, settings.seed)
    whole = look_through(model, space, dataset, settings, pictures=True, wanted=wanted, progress=progress)
    inside, pilot, quality = _on_sample(whole, sample, settings.seed, dataset)
    if sample is not None and Query.LEARNED_FIRST in asked:
        inside = inside.noted("learned-first: shares of right items are those of the sample, which may prefer errors.")
    banked, note = bank_or_note(inside.view, bank, settings.seed)
    inside = inside.noted(note) if note else inside
    others = partial(_another, ids=frozenset(inside.ids), dataset=dataset, settings=settings, progress=progress)
    found = []
    with progress("answering", len(asked)) as advance:
        for query in asked:
            if query is Query.LEARNED_FIRST:
                sentence, pictures, rows = questions.learned(inside, [others(spec, space) for spec in checkpoints])
            elif query is Query.MODEL_SIMILARITY:
                sentence, pictures, rows = questions.similarity(inside, others(other or "", None))
            elif query is Query.TAKEN_FOR:
                sentence, pictures, rows = questions.taken_for(inside, pair)
            else:
                sentence, pictures, rows = questions.PLAIN[query](inside)
            expected = words.expected_sentence(query, quality, pilot) if sample is not None else ""
            found.append(Answered(query, words.TITLES[query], sentence, expected, tuple(pictures), _faces(inside, rows, banked)))
            advance(1)
    return Diagnosis(
        inside.dataset,
        reference.name,
        reference.model.name,
        inside.layer_names,
        len(inside.ids),
        int(inside.view.wrong.sum()),
        pilot,
        quality,
        tuple(found),
        inside.notes if queries else (*inside.notes, *_left_out(checkpoints, other)),
    )


def _asked(queries: Collection[str], checkpoints: Sequence[Any], other: Any) -> list[Query]:
    """The questions in their order. Raises SettingError for one that is none, or that lacks what it needs."""
    lacking = _lacking(checkpoints, other)
    unknown = sorted(set(queries) - set(Query))
    if unknown:
        raise SettingError(f"query: {unknown[0]!r} is none of {', '.join(Query)}")
    for query in queries:
        if query in lacking:
            raise SettingError(f"query {query} needs {lacking[Query(query)]}")
    return [query for query in Query if (query in queries if queries else query not in lacking)]


def _lacking(checkpoints: Sequence[Any], other: Any) -> dict[Query, str]:
    """The questions that cannot be asked, and what each needs."""
    lacking = {} if checkpoints else {Query.LEARNED_FIRST: "earlier checkpoints of the model (--checkpoint, once for each)"}
    return lacking | ({} if other is not None else {Query.MODEL_SIMILARITY: "a model to compare with (--other)"})


def _left_out(checkpoints: Sequence[Any], other: Any) -> list[str]:
    return [f"{query} was not asked: it needs {what}." for query, what in _lacking(checkpoints, other).items()]


def _class(space: LabelSpace, name: str) -> int:
    if name not in space.names:
        raise SettingError(f"class {name!r} is none of the model's ({', '.join(space.names)})")
    return space.names.index(name)


def _pilot_share(dataset: Dataset) -> float:
    return 1.0 if dataset.count is None else min(1.0, PILOT / max(dataset.count, 1))


def _in_pilot(id: str, share: float, seed: int) -> bool:
    return share >= 1 or float(hashed_places([id], seed, "pilot")[0]) < share


def _sampled_or_pilot(ids: frozenset[str], dataset: Dataset, seed: int) -> Callable[[Item], bool]:
    share = _pilot_share(dataset)
    return lambda item: item.id in ids or _in_pilot(item.id, share, seed)


def _on_sample(whole: Inside, sample: Collection[str] | None, seed: int, dataset: Dataset) -> tuple[Inside, int, Accuracy | None]:
    """What is seen of the sample alone, the items of the pilot, and how true the sample's answers are beside theirs."""
    if sample is None:
        return whole, 0, None
    ids = frozenset(sample)
    mine = np.flatnonzero([id in ids for id in whole.ids])
    if not len(mine):
        raise DataError(f"{whole.dataset}: none of the {len(ids):,} ids of the sample is among its items; was it drawn from other data?")
    share = _pilot_share(dataset)
    pilot = np.flatnonzero([_in_pilot(id, share, seed) for id in whole.ids])
    view = whole.view
    full, on_sample = (answers(whole.layers, view.truth, view.wrong, rows) for rows in (pilot, mine))
    inside = whole.rows(mine)
    if len(mine) < len(ids):
        lost = f"{len(ids) - len(mine):,} of the {len(ids):,} items of the sample"
        inside = inside.noted(f"{lost} are not in {whole.dataset}, or are unreadable.")
    return inside, len(pilot), accuracy(full, on_sample)


def _another(
    spec: ModelSpec | Path | str,
    space: LabelSpace | None,
    *,
    ids: frozenset[str],
    dataset: Dataset,
    settings: Settings,
    progress: Progress,
) -> Inside:
    """What another model makes of the same items. space: the classes that it must have; None if any."""
    spec = spec if isinstance(spec, ModelSpec) else ModelSpec.load(Path(spec))
    model = load_model(spec, settings.device)
    if space is not None and tuple(spec.classes) != space.classes:
        raise SettingError(f"{spec.path}: a checkpoint must have the same classes in the same order: {', '.join(space.classes)}")
    its = LabelSpace.of(model.spec.classes, model.spec.choice == "multiple") if space is None else space
    return look_through(model, its, dataset, settings, wanted=lambda item: item.id in ids, progress=progress)


def _faces(inside: Inside, rows: Sequence[int], banked: Array | None) -> tuple[Face, ...]:
    """banked: the place of each item in a bank, whose members come first."""
    view = inside.view
    shown = list(rows) if banked is None else sorted(rows, key=lambda row: int(banked[row]))
    return tuple(
        Face(
            inside.ids[row],
            "" if view.truth[row] == UNLABELLED else inside.names[int(view.truth[row])],
            inside.names[int(view.predicted[row])],
            inside.pictures[row],
        )
        for row in shown[:FACES]
    )
