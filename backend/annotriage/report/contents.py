"""What report.html shows: whoever has triaged a dataset fills a `Report`, and `page` renders it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.advice import Advice
from annotriage.engine.verdict import OutlierGroup, Verdict
from annotriage.guarantee.diversity import Diversity
from annotriage.guarantee.gate import Guarantee


@dataclass(frozen=True, slots=True)
class Drawn:
    """One point of the map: a training item or an incoming one.

    kind: "training" | "incoming". label: what people called it (training) or what the model says (incoming). route: "" for training.
    outlier_score, confidence, p_value, trust, score, class_score, source_score: None where not computed. group: number of its outlier
    group, -1 for none. thumbnail: an encoded picture (PNG, JPEG, WebP), b"" for none. nearest: places in `Report.drawn` of its nearest
    training items.
    """

    id: str
    path: str
    kind: str
    label: str
    route: str = ""
    cluster: str = ""
    outlier_score: float | None = None
    confidence: float | None = None
    p_value: float | None = None
    trust: float | None = None
    score: float | None = None
    reason: str = ""
    group: int = -1
    thumbnail: bytes = b""
    nearest: tuple[int, ...] = ()
    class_score: float | None = None
    source_score: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item that goes to a person, with its picture and its outlier group (-1 for none)."""

    verdict: Verdict
    thumbnail: bytes = b""
    group: int = -1


@dataclass(frozen=True)
class Report:
    """All that report.html shows.

    counts: items per route, of the whole dataset. alpha: share of normal items that may be flagged. waiting: in the order of the
    queue; `waiting_total` says how many there are in all. map_xy: (P, 2), a place for each of `drawn`, or None; map_xyz: (P, 3) likewise,
    in space. map_method: how the map was made or, when there is none, why and how to get one. members: what each member of the score
    measures, by name. notes: sample sizes, warnings, each a sentence. timings: seconds by stage.
    """

    title: str
    created: datetime
    dataset: str
    reference: str
    reference_version: str
    model: str
    score: str
    alpha: float
    counts: Mapping[str, int]
    diversity: Diversity
    advice: tuple[Advice, ...]
    guarantee: Guarantee
    groups: tuple[OutlierGroup, ...] = ()
    map_xy: NDArray[np.float32] | None = None
    map_xyz: NDArray[np.float32] | None = None
    map_method: str = ""
    drawn: Sequence[Drawn] = ()
    waiting: Sequence[Waiting] = ()
    waiting_total: int = 0
    members: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
