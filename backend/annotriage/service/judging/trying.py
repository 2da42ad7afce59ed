"""What a reference would make of a project's tasks, tried on some of them before anything is connected: nothing is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Item
from annotriage.engine.verdict import verdicts_of
from annotriage.guarantee.audit import audit_share, in_audit, in_sample, probation_sizes
from annotriage.guarantee.conformal import hashed_places
from annotriage.model import load_model
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import stream
from annotriage.service.guarantee.spot_checks import SEED
from annotriage.service.judging.check_assignment import DRAWN_AMONG
from annotriage.service.judging.media import MediaReader
from annotriage.states import Route

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference
    from annotriage.labeling_tool import Task, ToolProject
    from annotriage.service.operations.process import Process
    from annotriage.store.projects import ProjectOptions

TRIED = 400  # tasks at most: a few seconds, and each share within 5 points


@dataclass(frozen=True)
class Trial:
    """What would become of `total` tasks, of which `tried` were judged. routes: tasks by route; checks: spot checks, `audits` of them
    drawn from automatic labels alone."""

    total: int
    tried: int
    routes: dict[str, int]
    checks: int
    audits: int


@dataclass(frozen=True, slots=True)
class _Tried:
    """A task as far as reading its media takes."""

    id: int
    external_id: str
    marker: None
    media: str
    group: str | None


def try_out(process: Process, tool: ToolProject, reference: Reference, tasks: Sequence[Task], options: ProjectOptions) -> Trial:
    """Judge some of the tasks, drawn at random, and count what would happen with all of them. Raises MismatchError."""
    names = [f"{tool.id}:{task.id}" for task in tasks]
    order = np.argsort(hashed_places(names, SEED, "trial"), kind="stable")[:TRIED]
    chosen = np.sort(order)  # in the order in which they will be judged
    routes = _routes(process, tool, reference, [tasks[place] for place in chosen])
    ids = [names[place] for place in chosen]
    sample = in_sample(ids, SEED, options.sample_share) & (routes != Route.FAILED)
    audit = _audited(ids, routes == Route.AUTO, len(tasks), reference, options)
    scale = len(tasks) / max(1, len(chosen))
    return Trial(
        total=len(tasks),
        tried=len(chosen),
        routes={route: round(count * scale) for route, count in Counter(routes.tolist()).items()},
        checks=round(float((sample | audit).sum()) * scale),
        audits=round(float((audit & ~sample).sum()) * scale),
    )


def _routes(process: Process, tool: ToolProject, reference: Reference, tasks: Sequence[Task]) -> NDArray[np.object_]:
    """The route of each task: (N,) str."""
    settings = process.run_settings(reference)
    model = load_model(ModelSpec.load(reference.spec_path or ""), settings.device)
    reference.check(model)
    routes = np.full(len(tasks), Route.FAILED, dtype=object)
    reader = MediaReader(process.settings, process.server)
    media = reader.read(tool, [_Tried(place, task.id, None, task.media, task.group) for place, task in enumerate(tasks)])

    def items() -> Iterator[Item]:
        for _, item in media:
            if isinstance(item, Item):
                yield item

    try:
        for batch in stream(model, items(), settings):
            if batch.outputs is None:
                continue
            scored = [batch.items[row] for row in batch.rows]
            for item, verdict in zip(scored, verdicts_of(reference, scored, reference.judge(batch.outputs), batch.seconds), strict=True):
                routes[int(item.id)] = verdict.route
    finally:
        media.close()
        reader.close()
    return routes


def _audited(ids: Sequence[str], auto: NDArray[np.bool_], total: int, reference: Reference, options: ProjectOptions) -> NDArray[np.bool_]:
    """Which of the tried items would be audited, were the whole project judged at once: (N,) bool.

    As `spot_checks.audit_shares`: at least so many a week that few are automatic of which none is checked; on probation all.
    """
    audited = np.zeros(len(ids), dtype=bool)
    scale = total / max(1, len(ids))
    step = max(1, round(DRAWN_AMONG / scale))
    before = 0.0
    for start in range(0, len(ids), step):
        some = slice(start, start + step)
        coming = min(DRAWN_AMONG, total - round(start * scale))
        share = max(options.audit_share, audit_share(before + coming)) if options.audit_share else 0.0
        audited[some] = auto[some] & in_audit(ids[some], SEED, share)
        before += float(auto[some].sum()) * scale
    if options.accept == "annotate":
        guarantee = reference.guarantee
        owed = probation_sizes(guarantee.error_limit, guarantee.confidence, total)[:1]
        audited |= auto & (np.cumsum(auto) * scale <= float(owed.sum() or total))
    return audited
