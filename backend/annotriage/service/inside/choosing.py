"""Items that people had best label next, chosen by a sampler from those that nobody has answered; kept for their page and the queue.

Spot checks are never among them, whatever their state: they are drawn at random alone. Of the chosen no class is kept.
"""

from __future__ import annotations

import numpy as np

from annotriage.engine.diagnosis.labelling_next import choose_to_label
from annotriage.errors import DataError
from annotriage.progress import Progress, silent
from annotriage.service.inside.keeping import keeping
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import FOR_PEOPLE, InsightKind, Route
from annotriage.store.insights import keep_insight
from annotriage.store.jobs import Job
from annotriage.store.projects import Project
from annotriage.store.proposals import free_points

AMONG = 50_000  # the latest, of which items are chosen
ROUTES = {"waiting": FOR_PEOPLE, "all": (*FOR_PEOPLE, Route.AUTO)}  # which items to choose from


def choose_items(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Choose items to label next and keep their ids: a sentence on it. job: its payload says from which, by what method, and how many.

    Raises DataError if nothing can be chosen from, SettingError, FitError.
    """
    asked = job.payload
    which, method, size = str(asked["of"]), str(asked["method"]), int(asked["size"])
    reference = process.reference(project.reference_id)
    ids: list[int] = []
    points: list[bytes] = []
    with progress("reading the items", None), process.store.reading() as connection:
        for some, compressed in free_points(connection, project, AMONG, ROUTES[which]):
            ids += some
            points += compressed
    if not ids:
        raise DataError(f"project {project.external_id}: nothing is there to choose from; import more items, or choose from all of them")
    with progress(f"choosing by {method}", None):
        lying = np.frombuffer(b"".join(points), np.float16).reshape(len(ids), -1)
        chosen = choose_to_label(reference, ids, lying, method, size, reference.settings.seed)
    found = [{"item_id": one.id, "ratio": one.ratio, "why": one.why} for one in chosen]
    facts = {"of": which, "method": method, "among": len(ids), "latest": len(ids) == AMONG, "chosen": found}
    with keeping(process, job) as connection:
        keep_insight(connection, project.id, InsightKind.SAMPLE, reference.version, facts)
    log("items chosen", project=project.external_id, method=method, among=len(ids), chosen=len(chosen))
    return f"{len(chosen):,} of {len(ids):,} items are chosen to be labelled next."
