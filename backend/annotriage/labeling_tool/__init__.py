"""The seam to labeling tools. A plugin registers a module with the functions of `LabelingTool`; nothing here imports one by name."""

from annotriage.labeling_tool.discovery import DEFAULT, LabelingTool, labeling_tool
from annotriage.labeling_tool.files import LabelingFiles, PredictionWriter
from annotriage.labeling_tool.server import SECRET_HEADER, DemoServer, LabelingServers, Predictor, ToolProject, ToolServer
from annotriage.labeling_tool.types import (
    AUDIT_VERSION,
    Account,
    Before,
    Changes,
    Check,
    Choices,
    ConfigChange,
    Event,
    NewTask,
    Outcomes,
    ProjectFacts,
    Review,
    Shown,
    Task,
)

__all__ = [
    "AUDIT_VERSION",
    "DEFAULT",
    "SECRET_HEADER",
    "Account",
    "Before",
    "Changes",
    "Check",
    "Choices",
    "ConfigChange",
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
    "Task",
    "ToolProject",
    "ToolServer",
    "labeling_tool",
]
