"""The model of a reference that the database keeps, loaded on this machine, if it is the same model here.

The files of a model travel with its reference, by their hash. The code of a factory and the runtime are each machine's own. So what the
model answered to inputs that are always the same, where its project was connected, is kept beside them: no replica judges by another model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotriage.engine.reference import Reference
from annotriage.errors import MismatchError
from annotriage.model import Model, load_model
from annotriage.model.spec import ModelSpec
from annotriage.settings import Settings

ANSWERS = "answers.npz"  # beside the folders of the reference and of its model
PROBES = 4  # inputs
FAR = 0.05  # of the length of what is expected; TF32 on a GPU moves it by some thousandths, other code by far more

Answers = dict[str, NDArray[np.float32]]


def load_kept_model(reference: Reference, settings: Settings, threads: int = 0) -> Model:
    """The model of a reference out of the database, ready to run. threads: cores that one run uses, 0 = all.

    Raises ModelError if it cannot run here, MismatchError if it is another model here than where the project was connected.
    """
    spec = ModelSpec.load(reference.spec_path or "")
    model = load_model(spec, settings.device, threads)
    refuse_changed(reference, model)
    return model


def refuse_changed(reference: Reference, model: Model) -> None:
    """Raise MismatchError unless a loaded model is the one of a reference out of the database, and answers as it did."""
    reference.check(model)
    file = (reference.spec_path or Path()).parent.parent / ANSWERS
    if file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            _refuse_other(reference, model, dict(kept))


def write_answers(model: Model, file: Path) -> None:
    """Keep what a model answers, for `load_kept_model` on other machines. file: ANSWERS in the folder above its spec's."""
    np.savez(file, **_answers(model))  # type: ignore[arg-type]


def _answers(model: Model) -> Answers:
    inputs = np.random.default_rng(0).random((PROBES, *model.spec.input.shape), np.float32)  # from 0 to 1, which every model takes
    outputs = model.run(inputs)
    found = {"logits": outputs.logits} | {f"layer {place}": values for place, values in enumerate(outputs.activations)}
    return {name: np.nan_to_num(values) for name, values in found.items()}


def _refuse_other(reference: Reference, model: Model, kept: Answers) -> None:
    now = _answers(model)
    for name, was in kept.items():
        before, after = was.astype(np.float64), now.get(name)
        if after is None or after.shape != before.shape or np.linalg.norm(after - before) > FAR * np.linalg.norm(before):
            code = f"the code of {model.spec.factory}" if model.spec.factory else "the runtime or the processor"
            raise MismatchError(
                f"reference {reference.name!r}: its model has the same files here but gives other answers than where its project was"
                f" connected, so {code} differs on this machine. Install what it was fitted with; to go on with this one everywhere,"
                " fit and connect again."
            )
