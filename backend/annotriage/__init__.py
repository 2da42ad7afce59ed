"""annotriage: a trained model labels what is familiar, under an error limit that it can prove; people get the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from annotriage.data import Dataset, Item, open_dataset
    from annotriage.engine.compare import compare
    from annotriage.engine.diagnosis.atlas import Atlas, atlas
    from annotriage.engine.diagnosis.attribution import AttributionGraph, attribution_graph
    from annotriage.engine.diagnosis.diagnose import Diagnosis, diagnose
    from annotriage.engine.diagnosis.dissection import Dissection, dissect
    from annotriage.engine.diagnosis.image_grid import ImageGrid, Patch, look_at_image
    from annotriage.engine.diagnosis.sample import DiagnosisSample, sample
    from annotriage.engine.duplicates import Duplicates, duplicates
    from annotriage.engine.fitting import fit
    from annotriage.engine.label_audit.audit import audit_labels
    from annotriage.engine.label_audit.findings import LabelAudit
    from annotriage.engine.look_alikes import look_alikes
    from annotriage.engine.reference import Reference
    from annotriage.engine.triage import Triage, triage
    from annotriage.engine.verdict import Verdict
    from annotriage.errors import AnnotriageError
    from annotriage.model import load_model
    from annotriage.model.spec import ModelSpec
    from annotriage.report.atlas_page import atlas_to_folder
    from annotriage.report.bench import Bench, bench
    from annotriage.report.comparison import compare_to_folder
    from annotriage.report.diagnosis_page import diagnose_to_folder
    from annotriage.report.dissection_page import dissect_to_folder
    from annotriage.report.duplicates import duplicates_to_file
    from annotriage.report.label_audit import audit_labels_to_folder
    from annotriage.report.output import summary_text, triage_to_folder
    from annotriage.report.sample_file import sample_to_file
    from annotriage.report.training_output import train
    from annotriage.service.readings.people import people
    from annotriage.settings import Settings
    from annotriage.training.plan import Plan
    from annotriage.training.retraining import Training, Wishes

__version__ = "0.1.0"

# Names are loaded when they are used: `import annotriage` costs nothing, and the command line starts fast.
_HOMES = {
    "AnnotriageError": "annotriage.errors",
    "Atlas": "annotriage.engine.diagnosis.atlas",
    "AttributionGraph": "annotriage.engine.diagnosis.attribution",
    "Bench": "annotriage.report.bench",
    "Dataset": "annotriage.data",
    "Diagnosis": "annotriage.engine.diagnosis.diagnose",
    "DiagnosisSample": "annotriage.engine.diagnosis.sample",
    "Dissection": "annotriage.engine.diagnosis.dissection",
    "Duplicates": "annotriage.engine.duplicates",
    "ImageGrid": "annotriage.engine.diagnosis.image_grid",
    "Item": "annotriage.data",
    "LabelAudit": "annotriage.engine.label_audit.findings",
    "ModelSpec": "annotriage.model.spec",
    "Patch": "annotriage.engine.diagnosis.image_grid",
    "Plan": "annotriage.training.plan",
    "Reference": "annotriage.engine.reference",
    "Settings": "annotriage.settings",
    "Training": "annotriage.training.retraining",
    "Triage": "annotriage.engine.triage",
    "Verdict": "annotriage.engine.verdict",
    "atlas": "annotriage.engine.diagnosis.atlas",
    "atlas_to_folder": "annotriage.report.atlas_page",
    "attribution_graph": "annotriage.engine.diagnosis.attribution",
    "audit_labels": "annotriage.engine.label_audit.audit",
    "audit_labels_to_folder": "annotriage.report.label_audit",
    "bench": "annotriage.report.bench",
    "Wishes": "annotriage.training.retraining",
    "compare": "annotriage.engine.compare",
    "compare_to_folder": "annotriage.report.comparison",
    "diagnose": "annotriage.engine.diagnosis.diagnose",
    "diagnose_to_folder": "annotriage.report.diagnosis_page",
    "dissect": "annotriage.engine.diagnosis.dissection",
    "dissect_to_folder": "annotriage.report.dissection_page",
    "duplicates": "annotriage.engine.duplicates",
    "duplicates_to_file": "annotriage.report.duplicates",
    "fit": "annotriage.engine.fitting",
    "load_model": "annotriage.model",
    "look_at_image": "annotriage.engine.diagnosis.image_grid",
    "look_alikes": "annotriage.engine.look_alikes",
    "open_dataset": "annotriage.data",
    "people": "annotriage.service.readings.people",
    "sample": "annotriage.engine.diagnosis.sample",
    "sample_to_file": "annotriage.report.sample_file",
    "summary_text": "annotriage.report.output",
    "train": "annotriage.report.training_output",
    "triage": "annotriage.engine.triage",
    "triage_to_folder": "annotriage.report.output",
}

__all__ = [
    "AnnotriageError",
    "Atlas",
    "AttributionGraph",
    "Bench",
    "Dataset",
    "Diagnosis",
    "DiagnosisSample",
    "Dissection",
    "Duplicates",
    "ImageGrid",
    "Item",
    "LabelAudit",
    "ModelSpec",
    "Patch",
    "Plan",
    "Reference",
    "Settings",
    "Training",
    "Triage",
    "Verdict",
    "Wishes",
    "atlas",
    "atlas_to_folder",
    "attribution_graph",
    "audit_labels",
    "audit_labels_to_folder",
    "bench",
    "compare",
    "compare_to_folder",
    "diagnose",
    "diagnose_to_folder",
    "dissect",
    "dissect_to_folder",
    "duplicates",
    "duplicates_to_file",
    "fit",
    "load_model",
    "look_alikes",
    "look_at_image",
    "open_dataset",
    "people",
    "sample",
    "sample_to_file",
    "summary_text",
    "train",
    "triage",
    "triage_to_folder",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'annotriage' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
