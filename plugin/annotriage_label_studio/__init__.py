"""The Label Studio plugin of annotriage: everything that knows Label Studio, its file formats included.

This module is what the entry point `label-studio` names: it offers the functions of `annotriage.labeling_tool.LabelingTool`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from annotriage.progress import Progress, silent
from annotriage_label_studio.webhooks import read_event

if TYPE_CHECKING:
    from flask import Blueprint

    from annotriage.data import Dataset
    from annotriage.labeling_tool import Predictor
    from annotriage.settings import ServiceSettings
    from annotriage_label_studio.demo.project import LabelStudioDemo
    from annotriage_label_studio.files.prediction_file import PredictionFile
    from annotriage_label_studio.server.connection import LabelStudioServer

__all__ = ["blueprint", "connect_server", "demo_server", "prediction_writer", "read", "read_event", "stop_demo", "title"]

title = "Label Studio"  # the tool's name, as people know it

# What reads and writes files, and what runs a demo, is loaded when it is used: the service's web process stays light.


def read(
    source: str, labeling_config: Path | None = None, classes: Sequence[str] = (), server: ServiceSettings | None = None
) -> Dataset | None:
    """A file of Label Studio's, or the labelled tasks of a project of a running one, as "label-studio:3"; None if it is neither."""
    if source.startswith("label-studio:"):
        from annotriage_label_studio.server.dataset import read_project

        return read_project(source, classes, server)
    from annotriage.settings import ServiceSettings
    from annotriage_label_studio.files.formats import read_file

    return read_file(source, labeling_config, classes, (server or ServiceSettings.load()).control)


def prediction_writer(
    path: Path,
    *,
    classes: Sequence[str],
    model_version: str,
    labeling_config: Path | None = None,
    control: Sequence[str] = (),
    item_fields: bool = True,
) -> PredictionFile:
    """A file of predictions; see `prediction_file.PredictionFile`."""
    from annotriage_label_studio.files.prediction_file import PredictionFile

    return PredictionFile(
        path,
        classes=classes,
        model_version=model_version,
        labeling_config=labeling_config,
        control=control,
        item_fields=item_fields,
    )


def connect_server(settings: ServiceSettings) -> LabelStudioServer:
    """The Label Studio that the settings name. Raises SettingError if they give no usable address, or no token."""
    from annotriage_label_studio.server.connection import open_server

    return open_server(settings)


def blueprint(predictor: Predictor, authenticated: Callable[[], bool], is_webhook: Callable[[], bool]) -> Blueprint:
    """The ML backend's routes; see `ml_backend.blueprint`, loaded when a service starts."""
    from annotriage_label_studio import ml_backend

    return ml_backend.blueprint(predictor, authenticated, is_webhook)


def demo_server(folder: Path, *, port: int | None = None, progress: Progress = silent) -> LabelStudioDemo:
    """A real Label Studio in `folder`, for the demo; see `project.demo_server`."""
    from annotriage_label_studio.demo import project

    return project.demo_server(folder, port=port, progress=progress)


def stop_demo(folder: Path) -> bool:
    """End it; its data stay."""
    from annotriage_label_studio.demo import server

    return server.stop(folder)
