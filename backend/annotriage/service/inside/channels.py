"""What the channels of a project's model do: the graph of a class, units against concepts, the graph of layers; kept for their pages.

Only training items are looked at, so that nothing is said of an item that is blind.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict

from annotriage.data import Source
from annotriage.data.concepts import read_concepts
from annotriage.engine.diagnosis.attribution import attribution_graph
from annotriage.engine.diagnosis.dissection import dissect
from annotriage.engine.diagnosis.kept_training import kept_training
from annotriage.engine.reference import Reference
from annotriage.model.layer_graph import layer_graph
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.report.graph_page import view_of
from annotriage.report.layers_page import drawn_layers
from annotriage.report.output import json_text
from annotriage.service.inside.keeping import keeping
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import InsightKind
from annotriage.store.insights import keep_insight
from annotriage.store.jobs import Job
from annotriage.store.projects import Project


def draw_graph(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Draw the attribution graph of a class and keep it: a sentence on it. job: its payload names the class, and another one or None.

    Raises SettingError, DataError, ModelError, MismatchError.
    """
    reference = process.reference(project.reference_id)
    kind, against = str(job.payload["class"]), job.payload.get("against")
    settings = process.run_settings(reference)
    found = attribution_graph(reference, _training(reference, project), kind, against, settings=settings, progress=progress)
    view, pieces = view_of(found)
    with keeping(process, job) as connection:
        keep_insight(connection, project.id, InsightKind.GRAPH, reference.version, json.loads(json_text(asdict(view))), pieces)
    log("attribution graph drawn", project=project.external_id, channels=len(view.nodes))
    return f"The attribution graph of {' and '.join(found.classes)} is drawn: {len(view.nodes)} channels."


def dissect_units(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Hold the model's units against concepts and keep what was found: a sentence on it. job: its payload is a CSV file's name and text.

    Raises DataError, ModelError, MismatchError.
    """
    reference = process.reference(project.reference_id)
    concepts = read_concepts(io.StringIO(str(job.payload["concepts"]), newline=""), str(job.payload.get("name", "concepts.csv")))
    settings = process.run_settings(reference)
    found = dissect(reference, _training(reference, project), concepts=concepts, settings=settings, progress=progress)
    facts = json.loads(json_text(found.summary()))
    pieces: dict[str, bytes] = {}
    for layer, plain in zip(found.layers, facts["layers"], strict=True):
        for unit, row in zip(layer.found, plain["found"], strict=True):
            row["examples"] = []
            for example in unit.examples:
                name = f"unit-{len(pieces)}"
                pieces[name] = example.picture
                row["examples"].append({"id": example.id, "piece": name})
    with keeping(process, job) as connection:
        keep_insight(connection, project.id, InsightKind.UNITS, reference.version, facts, pieces)
    log("units dissected", project=project.external_id, concepts=len(found.concepts))
    return found.sentences[0]


def draw_layers(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Draw the model's graph of layers and keep it: a sentence on it. Raises ModelError, MismatchError."""
    reference = process.reference(project.reference_id)
    with progress("reading the model", None):
        drawn = drawn_layers(layer_graph(ModelSpec.load(reference.spec_path or ""), reference.model.layers))
    with keeping(process, job) as connection:
        keep_insight(connection, project.id, InsightKind.LAYERS, reference.version, drawn.plain())
    return f"The layers are drawn: {len(drawn.boxes)} boxes."


def _training(reference: Reference, project: Project) -> Source:
    """The training set, where somebody has said where it is; else what the reference keeps of it."""
    return project.options.training_data or kept_training(reference)
