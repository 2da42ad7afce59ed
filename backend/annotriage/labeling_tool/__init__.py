"""The seam to labeling tools. A plugin registers a module with the functions of `LabelingTool`; nothing here imports one by name."""

from annotriage.labeling_tool.discovery import DEFAULT, LabelingTool, labeling_tool
from annotriage.labeling_tool.files import LabelingFiles, PredictionWriter
from annotriage.labeling_tool.server import SECRET_HEADER, DemoServer, LabelingServers, Predictor, ToolProject, ToolServer
from annotriage.labeling_tool.types import (
    AUDIT_VERSION,
    INHERITED_VERSION,
    LOOK_ALIKES_VERSION,
    Account,
    Before,
    Changes,
    Check,
    Choices,
    Event,
    NewTask,
    Outcomes,
    ProjectFacts,
    Review,
    Shown,
    TabShows,
    Task,
)

__all__ = [
    "AUDIT_VERSION",
    "DEFAULT",
    "INHERITED_VERSION",
    "LOOK_ALIKES_VERSION",
    "SECRET_HEADER",
    "Account",
    "Before",
    "Changes",
    "Check",
    "Choices",
    "DemoServer",
    "Event",
    "LabelingFiles",
    "LabelingServers",
    "LabelingTool",
    "NewTask",
    "Outcomes",
    "PredictionWriter",
    "Predictor",
    "ProjectFacts",
    "Review",
    "Shown",
    "TabShows",
    "Task",
    "ToolProject",
    "ToolServer",
    "labeling_tool",
]
