"""What triage adds to running the model: throughput on 224 x 224 images against bare onnxruntime, from arrays and from JPEG files.

The model costs what ResNet-18 costs. Bare is `session.run` on float batches that lie ready, of the same size, with the same
threads; once on the model's own output, once with the hidden layers as outputs too, which no latent method can do without.
Files come with their results folder; so do arrays in one row for information: there each picture is packed as PNG into
predictions.json, which costs half as much as the model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from figure import Figure, turns
from networks import write_resnet18
from numpy.typing import NDArray
from PIL import Image

from annotriage import ModelSpec, Reference, Settings, fit, load_model, triage, triage_to_folder
from annotriage.model import Model
from annotriage.model.layers import MAPS
from annotriage.model.outputs import pool
from annotriage.model.spec import InputSpec

ITEMS = 640  # in a turn: enough that what a dataset costs once (groups, tests of the whole) is small beside its items
ROUNDS = 3
ARRAYS, FILES = 0.95, 0.8  # least share of the bare throughput
POOLING, POOLING_ROUNDS = 0.02, 15
SETTINGS = Settings(map="none", batch_size=32)


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_resnet18(folder / "resnet18.onnx")
        spec = ModelSpec(tuple("abcdefgh"), InputSpec((224, 224), scale=1 / 255), file="resnet18.onnx", path=folder / "model.toml")
        model = load_model(spec)
        plain, hidden = bare(folder / "resnet18.onnx", ()), bare(folder / "resnet18.onnx", model.layers)
        images = pictures(ITEMS, 224, 224)
        yield pooling(model, plain, hidden, images[: SETTINGS.batch_size].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
        reference = fit(model, (images[:160], np.arange(160) % 8), (images[160:240], np.arange(80) % 8), settings=SETTINGS)
        write_jpegs(folder / "jpeg")
        batches = [
            images[start : start + SETTINGS.batch_size].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            for start in range(0, ITEMS, SETTINGS.batch_size)
        ]
        taken = turns(
            lambda: [plain(batch) for batch in batches],
            lambda: [hidden(batch) for batch in batches],
            lambda: triaged(reference, model, images, None),
            lambda: triaged(reference, model, folder / "jpeg", folder / "out"),
            lambda: triaged(reference, model, images, folder / "out"),
            rounds=ROUNDS,
        )
    rates = ", ".join(f"{ITEMS / np.median(side):.0f}" for side in taken[:, :, 0].T)
    yield Figure("images per second: bare, with hidden outputs, arrays, JPEG, arrays to files", "for information", rates, None)
    for side, what, least in ((2, "arrays", ARRAYS), (3, "JPEG files of 500 x 375", FILES), (4, "arrays to files", None)):
        for rival, against in ((1, "the same outputs"), (0, "logits alone")):
            wall, processor = np.median(taken[:, rival] / taken[:, side], axis=0)
            judged = least is not None and rival == 1
            yield Figure(
                f"throughput of triage from {what} over bare onnxruntime, {against}",
                f">= {least}" if judged else "for information",
                f"{wall:.3f} (by processor time {processor:.3f})",
                bool(wall >= least) if judged else None,
            )


def pooling(model: Model, plain: Callable[..., object], hidden: Callable[..., Any], batch: NDArray[np.float32]) -> Figure:
    """What it costs to make vectors of the six feature maps, beside running the model; one after the other in each of many rounds."""
    maps = [found for found in hidden(batch)[1:] if found.ndim == 4]
    if len(maps) != MAPS:
        raise RuntimeError(f"{len(maps)} maps of {', '.join(model.layers)}, {MAPS} expected")
    taken = turns(lambda: plain(batch), lambda: [pool(found, 2) for found in maps], rounds=POOLING_ROUNDS)
    wall, processor = np.median(taken[:, 1] / taken[:, 0], axis=0)
    return Figure(
        f"pooling {MAPS} feature maps over running a ResNet-18, by processor time",
        f"<= {POOLING}",
        f"{processor:.4f} (by wall clock {wall:.4f})",
        bool(processor <= POOLING),
    )


def triaged(reference: Reference, model: Model, source: NDArray[np.uint8] | Path, out: Path | None) -> None:
    """The main job with everything that belongs to it."""
    if out is None:
        result = triage(reference, source, model=model, settings=SETTINGS)
    else:
        result = triage_to_folder(reference, source, out, model=model, settings=SETTINGS, replace_existing=True)
    if result.counts["failed"]:
        raise RuntimeError(f"{result.counts['failed']} of {ITEMS} items failed")


def bare(file: Path, hidden: tuple[str, ...]) -> Callable[[NDArray[np.float32]], Any]:
    """The model alone, with the options that annotriage gives to onnxruntime; hidden: tensors that are put out besides."""
    proto = onnx.load(file)
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in hidden)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"image": batch})


def pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Images with large shapes, finer ones and grain, as photographs have them: (count, height, width, 3) uint8."""
    rng = np.random.default_rng(0)
    images = np.empty((count, height, width, 3), dtype=np.uint8)
    for image in images:
        layers = np.zeros((height, width, 3))
        for side, strength in ((3, 60), (12, 35), (48, 20)):
            small = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
            layers += strength * (np.asarray(small) / 128.0 - 1)
        image[:] = np.clip(128 + layers + rng.normal(0, 4, layers.shape), 0, 255)
    return images


def write_jpegs(folder: Path) -> None:
    """The same number of images as JPEG files, 500 x 375, quality 90."""
    folder.mkdir()
    for place, image in enumerate(pictures(ITEMS, 375, 500)):
        Image.fromarray(image).save(folder / f"{place:04}.jpg", quality=90)
