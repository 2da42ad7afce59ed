"""What a worker found of its piece of a dataset, as one file for the run that puts all pieces together; no pickle."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from annotriage.engine.assessment import Stranger
from annotriage.engine.triage import Piece, Seen
from annotriage.engine.verdict import Verdict
from annotriage.errors import OutputError
from annotriage.states import Failure

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Packed:
    """Byte strings in one array, which `.npz` holds without pickle."""

    content: Array
    ends: Array

    @classmethod
    def of(cls, parts: list[bytes]) -> _Packed:
        """The parts one after the other."""
        return cls(np.frombuffer(b"".join(parts), dtype=np.uint8), np.cumsum([len(part) for part in parts], dtype=np.int64))

    def parts(self) -> list[bytes]:
        """Each by itself."""
        starts = [0, *self.ends.tolist()]
        return [self.content[start:end].tobytes() for start, end in pairwise(starts)]


SAMPLES = ("drawn", "waiting", "failed")


def write_piece(file: Path, piece: Piece) -> None:
    """Write a piece, whole or not at all. Raises OSError."""
    facts: dict[str, Any] = {"counts": piece.counts, "labels": piece.labels, "groups": piece.groups if any(piece.groups) else None}
    arrays: dict[str, Array] = {"scores": piece.scores, "clusters": piece.clusters, "outliers": piece.outliers}
    for name in SAMPLES:
        seen: list[Seen] = getattr(piece, name)
        facts[name] = [[getattr(one.verdict, field) for field in Verdict.__slots__] for one in seen]
        arrays |= _arrays(name, [one.point for one in seen], [one.picture for one in seen])
    facts["strange"] = [[stranger.id, stranger.label] for stranger in piece.strange]
    arrays |= _arrays("strange", [one.point for one in piece.strange], [one.picture for one in piece.strange])
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    partial = file.with_name(f".{file.name}.{uuid4().hex}.part")  # workers on other machines have the same process ids
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    partial.replace(file)


def read_piece(file: Path) -> Piece:
    """A piece that `write_piece` wrote. Raises OutputError if the file is damaged."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            facts = json.loads(arrays["facts"].tobytes())
            seen = {
                name: [
                    Seen(_verdict(values), point, picture)
                    for values, point, picture in zip(facts[name], *_columns(arrays, name), strict=True)
                ]
                for name in SAMPLES
            }
            strange = [
                Stranger(id, label, point, picture)
                for (id, label), point, picture in zip(facts["strange"], *_columns(arrays, "strange"), strict=True)
            ]
            scores, clusters, outliers = arrays["scores"], arrays["clusters"], arrays["outliers"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OutputError(f"{file}: damaged ({error}); run the same command again, which makes it again") from error
    groups = facts["groups"] or [None] * len(scores)
    return Piece(facts["counts"], scores, clusters, outliers, groups, facts["labels"], strange=strange, **seen)


def _arrays(name: str, points: list[Array], pictures: list[bytes]) -> dict[str, Array]:
    """Points may be of no length (failed items have none), so they are laid end to end."""
    packed = _Packed.of(pictures)
    return {
        f"{name}_points": np.concatenate([*points, np.empty(0, dtype=points[0].dtype if points else np.float32)]),
        f"{name}_lengths": np.array([len(point) for point in points], dtype=np.int64),
        f"{name}_pictures": packed.content,
        f"{name}_ends": packed.ends,
    }


def _columns(arrays: Any, name: str) -> tuple[list[Array], list[bytes]]:
    points = np.split(arrays[f"{name}_points"], np.cumsum(arrays[f"{name}_lengths"])[:-1]) if len(arrays[f"{name}_lengths"]) else []
    return points, _Packed(arrays[f"{name}_pictures"], arrays[f"{name}_ends"]).parts()


def _verdict(values: list[Any]) -> Verdict:
    identity, path, labels, *rest = values
    rest[-1] = rest[-1] and Failure(rest[-1])
    return Verdict(identity, path, tuple(labels), *rest)
