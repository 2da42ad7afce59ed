"""The Label Studio plugin of annotriage: everything that knows Label Studio, its file formats included.

This module is what the entry point `label-studio` names: it offers the functions of `annotriage.labeling_tool.LabelingTool`.
"""

from annotriage_label_studio.formats import read
from annotriage_label_studio.predictions import PredictionFile

__all__ = ["prediction_writer", "read"]

prediction_writer = PredictionFile
