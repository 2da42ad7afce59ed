"""The Label Studio plugin of annotriage: everything that knows Label Studio, its file formats included.

This module is what the entry point `label-studio` names: it offers the functions of `annotriage.labeling_tool.LabelingTool`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from annotriage_label_studio.formats import read
from annotriage_label_studio.predictions import PredictionFile
from annotriage_label_studio.webhooks import read_event

if TYPE_CHECKING:
    from flask import Blueprint

    from annotriage.labeling_tool import Predictor

__all__ = ["blueprint", "prediction_writer", "read", "read_event"]

prediction_writer = PredictionFile


def blueprint(predictor: Predictor, authenticated: Callable[[], bool], is_webhook: Callable[[], bool]) -> Blueprint:
    """The ML backend's routes; see `ml_backend.blueprint`, loaded when a service starts."""
    from annotriage_label_studio import ml_backend

    return ml_backend.blueprint(predictor, authenticated, is_webhook)
