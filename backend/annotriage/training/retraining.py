"""Retraining: a reference and labelled items -> a new model, its reference, and both models side by side.

The training set and what people reviewed are learned; held-out items judge. A generic encoder without a head gets its first one here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Dataset, Source, open_dataset
from annotriage.engine.collecting import Collected, collect
from annotriage.engine.fitting import fit_collected
from annotriage.engine.labels import LabelSpace
from annotriage.engine.reference import Reference
from annotriage.errors import AnnotriageError, ModelError, SettingError, TrainingError
from annotriage.model import Model, Outputs, load_model
from annotriage.model.onnx_head import onnx_encoder_with_head, write_onnx_head
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings
from annotriage.training.course import Course, run
from annotriage.training.examples import Examples, Sources, classes_to_learn, gather
from annotriage.training.importance import Importance, early_scores
from annotriage.training.learner import Head, Learner
from annotriage.training.learning_curve import LearningCurve, learning_curve
from annotriage.training.plan import Plan
from annotriage.training.pruning import Proposal, pruning
from annotriage.training.regions import COLLECT, RAREST, Candidate, Region, low_density_regions, rank_pool, wanted_density
from annotriage.training.side_by_side import SideBySide, side_by_side
from annotriage.training.state import SavedState
from annotriage.training.strange_items import StrangeItems, gain_of_strange

Array = NDArray[Any]
T = TypeVar("T")

NOTHING_TO_MEASURE_ON = "--prune, --learning-curve and --strange measure on labelled held-out items; give some with --calibration"
SAME = 1e-3  # by which outputs of the written model may differ from those of the trained head, relative to the largest


@dataclass(frozen=True)
class Wishes:
    """What else to find out. scores: EL2N and GraNd. prune: what part of the training set can go. curve: what more labels would gain.

    strange: what the added items bring that the former reference calls outliers. pool: candidates to rank by how rare they are among what
    was trained on; collect: or by a sampler of `COLLECT`, those nearest to a boundary between classes first.
    """

    scores: bool = False
    prune: bool = False
    curve: bool = False
    strange: bool = False
    pool: Source | None = None
    collect: str = RAREST

    @property
    def measured(self) -> bool:
        """Whether any of it is measured on labelled held-out items."""
        return self.prune or self.curve or self.strange


@dataclass(frozen=True)
class Training:
    """A new model and how it came about.

    spec: of the new model, an .onnx file beside it. reference: fitted with it. former: the reference that it was trained from, None for an
    encoder's first head. new_classes: those the former did not know; never_auto: those of them that are never labelled automatically yet.
    comparison: None without held-out labels. resumed: epochs that an earlier, stopped run had done. candidates: None without a pool, or
    where a note says why they could not be ranked.
    importance, proposal, curve, strange: None unless they were asked for, or where a note says why they are not known.
    """

    spec: ModelSpec
    reference: Reference
    former: Reference | None
    plan: Plan
    course: Course
    examples: Examples
    new_classes: tuple[str, ...]
    never_auto: tuple[str, ...]
    comparison: SideBySide | None
    regions: tuple[Region, ...]
    candidates: list[Candidate] | None
    importance: Importance | None
    proposal: Proposal | None
    curve: LearningCurve | None
    strange: StrangeItems | None
    resumed: int
    seconds: float
    notes: tuple[str, ...] = field(default=())


def retrain(
    base: Reference | ModelSpec | Path | str,
    train: Source,
    folder: Path,
    *,
    reviewed: Source | None = None,
    augmented: Source | None = None,
    calibration: Source | None = None,
    keep_out: Source | None = None,
    plan: Plan | None = None,
    wishes: Wishes | None = None,
    new_classes: Sequence[str] | None = None,
    model: ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    name: str = "retrained",
    state: Path | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Training:
    """Train a new model and write it into `folder` (model.onnx, model.toml); the reference is fitted and returned, not written.

    base: the reference whose model learns on, or the spec of a model or encoder that has none yet. The other parameters are those of
    `annotriage.train`; state: the folder of results beside which a stopped run's state is kept, by default `folder`.
    """
    started = time.perf_counter()
    plan, wishes = plan or Plan(), wishes or Wishes()
    former = base if isinstance(base, Reference) else None
    settings = settings or (former.settings if former is not None else Settings())
    spec = _spec_of(base, model)
    if wishes.strange and (former is None or spec.factory or spec.head == "none"):
        raise TrainingError("which items are strange is told by the reference of an .onnx model whose head is trained; leave --strange out")
    if wishes.collect not in COLLECT:
        raise SettingError(f"collect: {wishes.collect!r} is none of {', '.join(COLLECT)}")
    if wishes.collect != RAREST and wishes.pool is None:
        raise SettingError(f"collect: there are no candidates to rank by {wishes.collect}; give some with --pool")
    if wishes.measured and calibration is None:
        raise TrainingError(NOTHING_TO_MEASURE_ON)
    opened = partial(open_dataset, labeling_config=labeling_config, classes=spec.classes, server=server)
    answered = partial(opened, classes=())  # people may have answered more than the model knows
    names = dict(spec.aliases)
    others = (None if source is None else answered(source).renamed(names) for source in (reviewed, augmented, calibration, keep_out))
    sources = Sources(opened(train).renamed(names), *others)
    pool = None if wishes.pool is None else opened(wishes.pool)
    classes, notes = classes_to_learn(sources, spec.classes, new_classes)
    saved_at = state or folder
    with_base = _base_spec(spec, classes, SavedState.folder_of(saved_at) / "base", plan)
    start = load_model(with_base, settings.device)
    old = None if former is None else start if with_base is spec else former.open_model(spec, settings)
    if former is not None and old is not None:
        former.check(old)
    space = LabelSpace.of(classes, start.spec.choice == "multiple")
    looked_at = np.empty(0, np.uint64) if former is None else former.held_out.hashes
    gathered = partial(collect, space=space, settings=settings, progress=progress, label_of=space.known_or_foreign)
    held_out = None if sources.held_out is None else gathered(start, sources.held_out, what="held-out items")
    measured_on = _measured_on(held_out, space) if wishes.measured else None
    examples = gather(start, sources, space, held_out, looked_at, settings, progress, keep_items=plan.whole)

    learner = _learner(start, spec, examples, plan, space, settings)
    saved = SavedState(saved_at, plan, start.hash.encode(), examples.collected.hashes.tobytes(), examples.targets.tobytes())
    course, resumed = _trained(learner, examples, plan, space, saved, progress)
    made = _write(learner, start, classes, folder)
    new = load_model(made, settings.device)
    trained, tested = _through(new, start, learner, examples, held_out, sources.held_out, gathered)
    reference = fit_collected(
        new, trained, tested, settings, name=name, previous=None if former is None else former.held_out, progress=progress
    )
    before = None
    if former is not None and old is not None and held_out is not None and sources.held_out is not None:
        before = former, held_out if old is start else gathered(old, sources.held_out, what="held-out items, old model")
    comparison = None if tested is None else side_by_side(before, (reference, tested), space, looked_at)

    density = wanted_density(trained, len(classes), plan.perplexity, plan.seed)
    regions = low_density_regions(trained, density, space)
    left_out = list[str]()
    candidates = None
    if pool is not None:

        def ranked() -> list[Candidate]:
            of_pool = collect(new, pool, space, settings, progress, "pool", lambda item: None)
            return rank_pool(of_pool, reference, density, trained, regions, wishes.collect)

        candidates = _besides("The pool's items could not be ranked", ranked, left_out)
    importance, proposal, curve = _further(wishes, examples, measured_on, plan, space, left_out, progress)
    strange = None
    if wishes.strange and former is not None and measured_on is not None:
        find = partial(_strange, former, examples, measured_on, plan, space, progress)
        strange = _besides("What the strange items bring is not known", find, left_out)
    saved.remove()
    return Training(
        spec=made,
        reference=reference,
        former=former,
        plan=plan,
        course=course,
        examples=replace(examples, items=()),
        new_classes=classes[len(spec.classes) :],
        never_auto=tuple(name for name in classes[len(spec.classes) :] if name in reference.untested),
        comparison=comparison,
        regions=regions,
        candidates=candidates,
        importance=importance,
        proposal=proposal,
        curve=curve,
        strange=strange,
        resumed=resumed,
        seconds=time.perf_counter() - started,
        notes=(*notes, *examples.notes, *start.notes, *_precision_note(spec, made), *left_out),
    )


def _spec_of(base: Reference | ModelSpec | Path | str, model: ModelSpec | Path | str | None) -> ModelSpec:
    given = model if model is not None else base if not isinstance(base, Reference) else base.spec_path
    if isinstance(given, ModelSpec):
        return given
    if given is None or not Path(given).is_file():
        raise ModelError(f"the model spec {given or ''} is not there any more; name its place with --model (or model=)")
    return ModelSpec.load(given)


def _precision_note(spec: ModelSpec, made: ModelSpec) -> tuple[str, ...]:
    if spec.precision == made.precision:
        return ()
    return (
        f"The new model computes in float32, not in {spec.precision}: it is an .onnx file, and onnxruntime knows float16 alone"
        ' ([model] precision = "float16" in its spec; fit again then).',
    )


def _base_spec(spec: ModelSpec, classes: tuple[str, ...], folder: Path, plan: Plan) -> ModelSpec:
    """The model as one whose head can be replaced: an .onnx file with a head."""
    if spec.model_path.suffix.lower() == ".pt2":
        raise TrainingError(
            f"{spec.path}: {spec.model_path.name} is an exported program, whose head cannot be replaced; give the same model as .onnx, or"
            " as a factory with weights"
        )
    if plan.whole and not spec.factory:
        raise TrainingError(
            f"{spec.path}: --whole needs a torch factory with weights; of {spec.model_path.name} the head alone can be trained"
        )
    if spec.factory:
        from annotriage.model.torch_training import export_factory

        return export_factory(spec, classes, folder)
    return onnx_encoder_with_head(spec, classes, folder) if spec.head == "none" else spec


def _learner(start: Model, spec: ModelSpec, examples: Examples, plan: Plan, space: LabelSpace, settings: Settings) -> Learner:
    if plan.whole:
        from annotriage.training.network import Network

        return Network(spec, space, examples.items, plan, settings)
    activations = examples.collected.activations[0]
    return Head(activations, len(space.classes), multiple=space.multiple, weight_decay=plan.weight_decay, seed=plan.seed)


def _trained(
    learner: Learner, examples: Examples, plan: Plan, space: LabelSpace, saved: SavedState, progress: Progress
) -> tuple[Course, int]:
    """The course of the training, and how many epochs of it an earlier run had done."""
    former = saved.read(learner)
    course = run(
        learner,
        examples.targets,
        plan,
        multiple=space.multiple,
        former=former,
        after_epoch=lambda so_far: saved.write(learner, so_far),
        progress=progress,
    )
    return course, 0 if former is None else former.epochs


def _write(learner: Learner, start: Model, classes: tuple[str, ...], folder: Path) -> ModelSpec:
    if isinstance(learner, Head):
        return write_onnx_head(start.spec, start.layers, classes, *learner.layer(), folder)
    from annotriage.training.network import Network  # torch, which such a learner has loaded

    if not isinstance(learner, Network):
        raise TypeError(f"{type(learner).__name__} is no learner that can be written")
    return learner.export(folder)


def _through(
    new: Model, start: Model, learner: Learner, examples: Examples, held_out: Collected | None, held_out_data: Dataset | None, gathered: Any
) -> tuple[Collected, Collected | None]:
    """What the new model makes of the items trained on and of the held-out ones.

    Of a new head the activations before it are known already; that the written model gives the same is seen on the held-out items.
    Raises ModelError if it does not.
    """
    tested = None if held_out_data is None else gathered(new, held_out_data, what="held-out items, new model")
    if not isinstance(learner, Head):
        items = Dataset(examples.collected.name, len(examples.items), lambda: iter(examples.items))
        return gathered(new, items, what="training items, new model"), tested
    if held_out is not None and tested is not None:
        wanted, found = learner.logits(held_out.activations[0]), tested.logits
        off = float(np.abs(wanted - found).max()) if wanted.shape == found.shape else np.inf
        if off > SAME * max(float(np.abs(wanted).max()), 1.0):
            raise ModelError(
                f"{new.spec.model_path}: the model that was written differs from the one that was trained (by {off:.3g} in a logit);"
                " nothing is replaced. Name the hidden layer before the head as [model] layer in the spec, and retrain"
            )
    trained = replace(examples.collected, logits=learner.logits(examples.collected.activations[0]))
    return trained, tested


def _besides(without: str, find: Callable[[], T], left_out: list[str]) -> T | None:
    """What is found out once the model is trained, which stays whatever becomes of the rest: None and a note where it cannot be."""
    try:
        return find()
    except (AnnotriageError, MemoryError) as error:
        left_out.append(f"{without}: {'memory ran out' if isinstance(error, MemoryError) else error}")
        return None


def _further(
    wishes: Wishes,
    examples: Examples,
    measured_on: tuple[Array, Array] | None,
    plan: Plan,
    space: LabelSpace,
    left_out: list[str],
    progress: Progress,
) -> tuple[Importance | None, Proposal | None, LearningCurve | None]:
    activations, targets = examples.collected.activations[0], examples.targets
    importance = proposal = curve = None
    told: dict[str, Any] = {"multiple": space.multiple, "progress": progress}
    if wishes.scores or wishes.prune:
        find = partial(early_scores, activations, targets, plan, **told)
        without = "What can be left out is not known"
        if wishes.scores:
            without = f"EL2N and GraNd of the items{', and what can be left out,' if wishes.prune else ''} are not known"
        importance = _besides(without, find, left_out)
    if measured_on is None:
        return importance, None, None
    if wishes.prune and importance is not None:
        weigh = partial(pruning, activations, targets, importance.el2n, measured_on, plan, **told)
        proposal = _besides("What can be left out is not known", weigh, left_out)
    if wishes.curve:
        follow = partial(learning_curve, activations, targets, measured_on, plan, **told)
        curve = _besides("What more labels would gain is not known", follow, left_out)
    return importance, proposal, curve


def _strange(
    former: Reference, examples: Examples, measured_on: tuple[Array, Array], plan: Plan, space: LabelSpace, progress: Progress
) -> StrangeItems:
    """What strange items bring. former: the reference of the model that the activations are of."""
    collected = examples.collected
    outlier = former.judge(Outputs(collected.logits, collected.activations)).route == "outlier"
    return gain_of_strange(
        collected.activations[0],
        examples.targets,
        outlier,
        examples.added,
        measured_on,
        plan,
        multiple=space.multiple,
        progress=progress,
    )


def _measured_on(held_out: Collected | None, space: LabelSpace) -> tuple[Array, Array]:
    """Activations (n, d) and targets (n, m) of the held-out items that have labels. Raises TrainingError if none has."""
    rows = [] if held_out is None else [row for row, labels in enumerate(held_out.labels) if labels is not None and -1 not in labels]
    if held_out is None or not rows:
        raise TrainingError(NOTHING_TO_MEASURE_ON)
    truth = np.zeros((len(rows), len(space.classes)), dtype=np.float32)
    for place, row in enumerate(rows):
        truth[place, list(held_out.labels[row] or ())] = 1
    return held_out.activations[0][rows], truth
