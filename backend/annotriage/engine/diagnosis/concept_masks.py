"""Units against masks: which are active where a concept is, in all images together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotriage.data.concepts import Masks
from annotriage.diagnosis.dissection import Overlap, count_overlap, enlarged, thresholds
from annotriage.engine.diagnosis.concepts import EXAMPLES, Concept, ConceptRun, DissectedLayer, Example, Found, Unit, lit
from annotriage.errors import DataError, MediaError, SettingError
from annotriage.model.inputs import read_image
from annotriage.model.places import as_map
from annotriage.settings import Settings

Array = NDArray[Any]

MASKED = 112  # pixels of the longer side at which maps and masks are compared, as in the source
HELD = 2**28  # bytes of a layer's values from which thresholds are taken
PICTURED = 12  # detectors of a layer that are shown with pictures


def by_masks(run: ConceptRun, given: Masks, chosen: dict[str, str], quantile: float) -> Found:
    """The detectors of all layers that are maps. chosen: ids. Raises SettingError, DataError of a model without them."""
    spec = run.model.spec.input
    if spec.kind != "image":
        raise SettingError("masks need a model of images; give labels per item instead (--concepts)")
    height, width = _size(spec.size)
    rng = np.random.default_rng(run.settings.seed)
    kept: dict[int, list[Array]] = {}
    for batch, layers in run.batches(chosen.keys(), "finding thresholds"):
        for place, layer in enumerate(layers):
            maps = as_map(layer)
            if maps is not None:
                kept.setdefault(place, []).append(_some_places(maps, max(1, HELD // (4 * maps.shape[1] * len(chosen))), rng))
        del batch
    if not kept:
        raise DataError(
            f"{run.model.spec.model_path.name}: none of the layers {', '.join(run.model.layers)} is a feature map, so that masks cannot be"
            " held against it; give labels per item instead (--concepts)"
        )
    limits = {place: thresholds(np.concatenate(parts), quantile) for place, parts in kept.items()}
    del kept
    overlaps = {place: Overlap.of(len(limit), len(given.names)) for place, limit in limits.items()}
    peaks: dict[int, list[Array]] = {place: [] for place in limits}
    ids: list[str] = []
    with_concept = np.zeros(len(given.names), dtype=np.intp)
    for batch, layers in run.batches(chosen.keys(), "comparing with masks"):
        masks = np.stack([_masks(given, chosen[item.id], (height, width), run.settings) for item in batch.items])
        with_concept += masks.any(axis=(2, 3)).sum(axis=0)
        ids += [item.id for item in batch.items]
        for place, limit in limits.items():
            maps = as_map(layers[place])
            assert maps is not None
            count_overlap(overlaps[place], maps, limit, masks)
            peaks[place].append(maps.max(axis=(2, 3)))
    coverage = next(iter(overlaps.values())).coverage
    concepts = tuple(
        Concept(name, int(items), len(ids), float(share)) for name, items, share in zip(given.names, with_concept, coverage, strict=True)
    )
    found = []
    for place, overlap in overlaps.items():
        iou = overlap.iou
        best = iou.argmax(axis=1)
        values = iou[np.arange(len(iou)), best]
        detects = values > overlap.limits[np.arange(len(iou)), best]
        order = [unit for unit in np.argsort(-values, kind="stable").tolist() if detects[unit]] or [int(values.argmax())]
        unknown = float("nan")
        units = [Unit(unit, given.names[best[unit]], float(values[unit]), unknown, unknown, bool(detects[unit])) for unit in order]
        found.append((place, units, np.concatenate(peaks[place])))
    pictured = _mask_examples(run, given, chosen, found, ids, limits, (height, width))
    layers_found = tuple(
        DissectedLayer(run.model.layers[place], len(limits[place]), tuple(pictured[place, unit.unit] for unit in units))
        for place, units, _ in found
    )
    left = [name for place, name in enumerate(run.model.layers) if place not in limits]
    notes = [f"Left out, since they are no feature maps: {', '.join(left)}."] if left else []
    return Found(concepts, layers_found, float("nan"), sum(len(limit) for limit in limits.values()) * len(concepts), notes)


def _size(size: Sequence[int]) -> tuple[int, int]:
    """Height and width at which maps and masks are compared."""
    factor = min(1.0, MASKED / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _some_places(maps: Array, most: int, rng: np.random.Generator) -> Array:
    """The values of all units at some places of each image: (n * places, C)."""
    flat = maps.reshape(*maps.shape[:2], -1)
    if flat.shape[2] > most:
        flat = flat[:, :, np.sort(rng.choice(flat.shape[2], most, replace=False))]
    return np.asarray(flat.transpose(0, 2, 1).reshape(-1, flat.shape[1]))


def _masks(given: Masks, id: str, size: tuple[int, int], settings: Settings) -> Array:
    """(K, H, W) bool: where each concept is in an item."""
    found = np.zeros((len(given.names), *size), dtype=bool)
    for place, file in enumerate(given.of(id) or ()):
        if file is not None:
            try:
                image = read_image(file, settings.max_pixels, f"mask {file}")
            except MediaError as error:
                raise DataError(str(error)) from None
            there = Image.fromarray((np.asarray(image.convert("L")) > 0).astype(np.uint8) * 255)
            share = np.asarray(there.resize(size[::-1], Image.Resampling.BOX))
            found[place] = share > (127 if share.max() > 127 else 0)  # a thin one fills no pixel by half
    return found


def _mask_examples(
    run: ConceptRun,
    given: Masks,
    chosen: dict[str, str],
    found: list[tuple[int, list[Unit], Array]],
    ids: list[str],
    limits: dict[int, Array],
    size: tuple[int, int],
) -> dict[tuple[int, int], Unit]:
    """The units, the best of each layer with the items that excite them most."""
    wanted: dict[str, list[tuple[int, Unit]]] = {}
    units: dict[tuple[int, int], Unit] = {}
    for place, listed, peaks in found:
        for number, unit in enumerate(listed):
            units[place, unit.unit] = unit
            if number < PICTURED:
                for row in np.argsort(-peaks[:, unit.unit], kind="stable")[:EXAMPLES]:
                    wanted.setdefault(ids[row], []).append((place, unit))
    drawn: dict[tuple[int, int], list[tuple[float, Example]]] = {}
    for batch, layers in run.batches(wanted.keys(), "drawing examples"):
        for row, item in enumerate(batch.items):
            masks = _masks(given, chosen[item.id], size, run.settings)
            for place, unit in wanted[item.id]:
                maps = as_map(layers[place])
                assert maps is not None
                active = enlarged(maps[row, unit.unit][None], *size)[0]
                shown = lit(batch.contents[row], active > limits[place][unit.unit], masks[given.names.index(unit.concept)])
                drawn.setdefault((place, unit.unit), []).append((-float(active.max()), Example(item.id, shown)))
    for key, examples in drawn.items():
        units[key] = replace(units[key], examples=tuple(example for _, example in sorted(examples, key=lambda entry: entry[0])))
    return units
