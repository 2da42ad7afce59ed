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


class Failure(StrEnum):
    """Why an item could not be judged: failures of one kind, at one host, are mended together."""

    ADDRESS = "address"  # its data name no picture that can be asked for
    FORBIDDEN = "forbidden"  # it may not be asked for: its host is not among the media_hosts, or it lies outside of the folder
    REFUSED = "refused"  # its server does not give it, or its file may not be read
    GONE = "gone"  # there is no such file
    UNAVAILABLE = "unavailable"  # its server is not reached, or is overloaded: that may pass
    TOO_LARGE = "too large"
    UNREADABLE = "unreadable"  # no picture, or damaged
    UNFIT = "unfit"  # not what the model takes
    MODEL = "model"  # the model failed on it
    REPEATED = "repeated"  # its id was used before
    UNLISTED = "unlisted"  # the labeling tool itself fails to show its task


class HeldBack(StrEnum):
    """Why a person decides on an item that the model judged automatic."""

    PAUSE = "pause"  # automatic labels were paused when it was judged
    PERSON = "person"  # somebody sent it to review


class AnswerState(StrEnum):
    """What people's answers on an item come to."""

    OPEN = "open"
    RESOLVED = "resolved"
    DISPUTED = "disputed"


class Standing(StrEnum):
    """Where an item stands with people. Open spot checks, which people answer blind, stand apart."""

    WAITING = "waiting"
    OUT = "out"  # a person took it out of the queue
    ANSWERED = "answered"
    UNASKED = "unasked"  # labelled by the model


class SpotCheckKind(StrEnum):
    """From what a spot check was drawn."""

    SAMPLE = "sample"  # from all items
    AUDIT = "audit"  # from automatic ones


class SpotCheckState(StrEnum):
    """What people's blind answers say of the model's."""

    OPEN = "open"
    DISAGREED = "disagreed"  # one person did: it counts as wrong until a second answer says otherwise
    RIGHT = "right"
    WRONG = "wrong"


class GoldState(StrEnum):
    """How far a known answer is on its way to people, who are asked it blind."""

    WAITING = "waiting"  # kept, not asked yet
    SENDING = "sending"  # its copy is being made in the labeling tool, or may have been
    OPEN = "open"  # its copy waits for people among the spot checks
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"  # its task is gone, or shows something else since


class IssueKind(StrEnum):
    """What may be amiss with a label that people gave."""

    WRONG = "wrong"  # another class
    STRANGER = "stranger"  # none of the classes, under the name of one
    AMBIGUOUS = "ambiguous"  # two classes are about as likely
    MISSING = "missing"  # several classes may apply, and one that does was not given


class FindingState(StrEnum):
    """What people made of a doubted label."""

    OPEN = "open"
    RIGHT = "right"  # somebody looked, and the label stays
    CORRECTED = "corrected"  # people have answered something else since


class ProposalState(StrEnum):
    """How far a group of look-alikes is on its way to be labelled at once."""

    OFFERED = "offered"  # people see how many answers it takes; nobody is asked yet
    ASKING = "asking"  # people answer the first members of the draw, blind
    SHOWN = "shown"  # the answers are enough: the rest may be labelled at once
    MIXED = "mixed"  # no number of answers is enough any more
    SPLITTING = "splitting"  # it is being split in two
    SPLIT = "split"  # its halves go on
    LABELLING = "labelling"  # the rest is being labelled
    LABELLED = "labelled"
    UNDOING = "undoing"  # the labels given at once are being taken back
    UNDONE = "undone"
    CLOSED = "closed"  # by a person, or because its items are gone


class TwinKind(StrEnum):
    """How an item repeats an earlier one."""

    EXACT = "exact"  # the model makes the very same of both
    NEAR = "near"  # as a lightly changed copy would


class TwinState(StrEnum):
    """What became of an item that repeats an earlier one."""

    FOUND = "found"
    SENDING = "sending"  # the other's answer is on its way to it, and may have arrived: it is asked blind no more
    INHERITED = "inherited"  # it has the other's answer as a prediction
    UNDONE = "undone"  # that was taken back, and is not given again
    STALE = "stale"  # the item shows something else by now: what it inherited is to be taken back


class EventKind(StrEnum):
    """What happened to a project."""

    CONNECTED = "connected"
    GONE = "gone"  # deleted in the labeling tool
    UNREACHABLE = "unreachable"  # the labeling tool could not be read
    REPAIRED = "repaired"  # something in the labeling tool was put right
    TROUBLE = "trouble"  # nothing can be judged
    PROBLEM = "problem"  # nothing can be delivered, because the labeling config does not fit the model
    SOLVED = "solved"  # it fits again
    REFUSED = "refused"  # the labeling tool took no prediction of a call
    RETRIED = "retried"  # a person had what failed sent again
    PAUSED = "paused"
    RESUMED = "resumed"
    ALARM = "alarm"
    ALARM_OVER = "alarm over"  # too few contradictions were confirmed
    REVEALED = "revealed"  # a person had the class of an outlier told
    DECIDED = "decided"  # a person who manages decided between the model and the only annotator
    SETTINGS = "settings"  # a person changed how the project is triaged
    LIMITS = "limits"  # a reference with other limits is to take over
    LIMITS_FAILED = "limits failed"
    LIMITS_WITHDRAWN = "limits withdrawn"  # a person went back to the current ones before others were tested
    STRICTER = "stricter"  # spot checks ask for surer automatic labels: a reference with a stricter gate is to take over
    RECALIBRATED = "recalibrated"  # a reference with a new guarantee is to take over
    RECALIBRATION_FAILED = "recalibration failed"
    TRAINED = "trained"  # there is a new model, and nothing uses it yet
    TRAINING_FAILED = "training failed"
    NOT_TAKEN_OVER = "not taken over"  # a new model was to take over by itself, and could not
    CHOSEN = "chosen"  # a new model is to take over, or the former one again
    CLASS_ADDED = "class added"  # a person let the labeling tool offer another label
    CLASS_TAKEN_BACK = "class taken back"
    SWITCHED = "switched"  # the next reference is the current one
    REROUTED = "rerouted"  # a person sent items to review, or back
    ACCEPTED = "accepted"  # automatic labels became annotations
    UNDONE = "undone"  # they were taken back
    LOOK_ALIKES = "look-alikes"  # a group of them went a step further
    INHERITED = "inherited"  # near duplicates got the answers of what they repeat
    INHERITED_UNDONE = "inherited undone"  # a person took these back
    CERTIFIED = "certified"  # the automatic labels of a dataset were fixed, and checks of them drawn
    ERASED = "erased"  # all that was known of items was erased
    ERASURE_FAILED = "erasure failed"  # it is tried again


class NoticeWay(StrEnum):
    """How people are told outside the dashboard."""

    WEBHOOK = "webhook"
    MAIL = "mail"


NOTICED = (  # of what they are told
    EventKind.ALARM,
    EventKind.ALARM_OVER,
    EventKind.PAUSED,
    EventKind.RESUMED,
    EventKind.TROUBLE,
    EventKind.PROBLEM,
    EventKind.SOLVED,
    EventKind.GONE,
    EventKind.LIMITS_FAILED,
    EventKind.RECALIBRATION_FAILED,
    EventKind.TRAINED,
    EventKind.TRAINING_FAILED,
    EventKind.NOT_TAKEN_OVER,
    EventKind.ERASURE_FAILED,
)


PASSING = (  # what machines met, which nobody did and nothing rests on: the latest of them are enough
    EventKind.UNREACHABLE,
    EventKind.REPAIRED,
    EventKind.TROUBLE,
    EventKind.PROBLEM,
    EventKind.SOLVED,
    EventKind.REFUSED,
    EventKind.LIMITS_FAILED,
    EventKind.RECALIBRATION_FAILED,
    EventKind.TRAINING_FAILED,
    EventKind.ERASURE_FAILED,
)


class Role(StrEnum):
    """What a person may do in the dashboard and the API; each may do what those before may."""

    LOOK = "look"
    DECIDE = "decide"  # pause and resume, send items to review, settle spot checks, recalibrate, send again
    ADMINISTER = "administer"  # limits and settings, push and erase items, accounts

    def may(self, needed: Role) -> bool:
        """Whether this is at least that much."""
        return list(Role).index(self) >= list(Role).index(needed)


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
    STALE = "stale"  # what they say of the dataset, or of look-alikes, is no longer true
    WRITTEN = "written"
    FAILED = "failed"


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"  # by a person; who runs it notices before long


class TrainedState(StrEnum):
    """What became of a model that a project trained."""

    OFFERED = "offered"  # it waits for a person to let it take over
    TAKEN = "taken"  # it took over, or is about to
    RETURNED = "returned"  # a person had the former one back


class InsightKind(StrEnum):
    """What a job can find inside the model of a project."""

    DIAGNOSIS = "diagnosis"  # the questions' answers
    ATLAS = "atlas"  # the training items as the layers see them
    FACES = "faces"  # images made so that they mean to the model what a cell of the atlas does
    IMAGE = "image"  # what each place of one image does
    GRAPH = "graph"  # what a class is recognised by, layer by layer
    UNITS = "units"  # which units stand for which concept
    LAYERS = "layers"  # the model's graph of layers
    SAMPLE = "sample"  # items that a sampler chose to be labelled next


@dataclass(frozen=True, slots=True)
class Pause:
    """A person stopped automatic labels. reason: "" if none was given. at: seconds since 1970."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """The alarm stopped automatic labels: of `answers` that people checked blind so many were `wrong`, too many for `max_error`.

    low, high: limits of the error in the long run. at: seconds since 1970. unconfirmed: so many of the wrong ones rest on one person's
    word, and without them it would not ring: it ends by itself should second answers say otherwise. 0: a recalibration alone ends it.
    """

    wrong: int
    answers: int
    low: float
    high: float
    max_error: float
    at: float
    unconfirmed: int = 0


ROUTES = tuple(Route)
FOR_PEOPLE = (Route.FAILED, Route.OUTLIER, Route.UNCERTAIN)  # every item of these waits for a person, the strangest first
SPOT_CHECK = "spot check"  # stands in a route's place where the route would tell what the model says
SPOT_CHECK_FIELD = "triage_spot_check"  # the field of a task that spot checks alone have
SHOWN = (Route.AUTO, Route.UNCERTAIN)  # annotators see the model's answer; of the others they see none, and are not anchored
UNANSWERED = (AnswerState.OPEN, AnswerState.DISPUTED)
UNSETTLED = (SpotCheckState.OPEN, SpotCheckState.DISAGREED)
SETTLED = (SpotCheckState.RIGHT, SpotCheckState.WRONG)

# Trust sorts all items: failed 0, outliers up to a third, uncertain up to two thirds, auto above; nothing lies on a border.
THIRD = 1 / 3
FAMILIAR_FROM = THIRD  # strangers lie below
AUTOMATIC_FROM = 2 * THIRD  # what waits for people lies below
MARGIN = 1e-4  # that each third keeps free at both ends
OUT_FROM = 1 - MARGIN / 2  # from here on nobody is asked and nothing is claimed: what a person took out of the queue
