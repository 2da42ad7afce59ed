"""What items, answers, spot checks, deliveries and jobs can be, and where one route ends and the next begins.

The words here are those of the database, the API and the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

Time = Annotated[float, "seconds since 1970; programs are given ISO 8601"]


class Route(StrEnum):
    """What happens with an item."""

    AUTO = "auto"  # the model labels it
    UNCERTAIN = "uncertain"  # familiar, but the model is unsure
    OUTLIER = "outlier"  # unlike the training data
    FAILED = "failed"  # could not be judged


class AnswerState(StrEnum):
    """What people's answers on an item come to."""

    OPEN = "open"
    RESOLVED = "resolved"
    DISPUTED = "disputed"


class SpotCheckKind(StrEnum):
    """From what a spot check was drawn."""

    SAMPLE = "sample"  # from all items
    AUDIT = "audit"  # from automatic ones


class SpotCheckState(StrEnum):
    """What people's blind answers say of the model's."""

    OPEN = "open"
    DISAGREED = "disagreed"  # one person did: a second answer is wanted
    RIGHT = "right"
    WRONG = "wrong"


class DeliveryState(StrEnum):
    """How far a prediction is on its way into the labeling tool."""

    PENDING = "pending"
    SENDING = "sending"
    UNKNOWN = "unknown"  # the answer to a call was lost: the tasks are read back
    ANSWERED = "answered"  # the labeling tool asked for it, and may have stored it
    STALE = "stale"  # another one is to take its place
    CONFIRMED = "confirmed"
    REFUSED = "refused"


class FieldWriteState(StrEnum):
    """How far the fields of a task are."""

    PENDING = "pending"
    STALE = "stale"  # the diversity that they show is no longer true
    WRITTEN = "written"
    FAILED = "failed"


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Pause:
    """A person stopped automatic labels. reason: "" if none was given. at: seconds since 1970."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """The alarm stopped automatic labels: of `answers` that people checked blind so many were `wrong`, too many for `max_error`.

    low, high: limits of the error in the long run. at: seconds since 1970.
    """

    wrong: int
    answers: int
    low: float
    high: float
    max_error: float
    at: float


ROUTES = tuple(Route)
FOR_PEOPLE = (Route.FAILED, Route.OUTLIER, Route.UNCERTAIN)  # every item of these waits for a person, the strangest first
SHOWN = (Route.AUTO, Route.UNCERTAIN)  # annotators see the model's answer; of the others they see none, and are not anchored
UNANSWERED = (AnswerState.OPEN, AnswerState.DISPUTED)
UNSETTLED = (SpotCheckState.OPEN, SpotCheckState.DISAGREED)
SETTLED = (SpotCheckState.RIGHT, SpotCheckState.WRONG)

# Trust sorts all items: failed 0, outliers up to a third, uncertain up to two thirds, auto above; nothing lies on a border.
THIRD = 1 / 3
FAMILIAR_FROM = THIRD  # strangers lie below
AUTOMATIC_FROM = 2 * THIRD  # what waits for people lies below
MARGIN = 1e-4  # that each third keeps free at both ends
