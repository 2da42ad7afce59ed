"""The errors of annotriage: one small tree, each saying which thing, what was wrong and what to do.

A class stands for something that a caller can act upon, not for a place where it is raised. `status` is
the HTTP status with which the service answers; the CLI prints the message alone and exits with 1.
"""

from annotriage.states import Failure


class AnnotriageError(Exception):
    """The root of the tree: whatever a user can mend by reading the message."""

    status = 500


class SettingError(AnnotriageError):
    """A setting (file, environment variable, command-line option) has a value that it cannot have."""

    status = 422


class DataError(AnnotriageError):
    """A dataset as a whole cannot be read: the path, the format, the columns, the ids."""

    status = 422


class MediaError(AnnotriageError):
    """The data behind one item could not be fetched or read; the other items go on."""

    status = 422

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class MediaUnavailable(MediaError):
    """The data behind one item could not be fetched for a reason that may pass: try again later.

    retry_after: seconds after which its server asks to be tried again, if it said so.
    """

    status = 503

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(Failure.UNAVAILABLE, message)
        self.retry_after = retry_after


class ModelError(AnnotriageError):
    """The model file or its spec cannot be used: missing, pickled, wrong layer, wrong number of classes."""

    status = 422


class FitError(AnnotriageError):
    """No reference can be fitted from this training set or these held-out items."""

    status = 422


class TrainingError(AnnotriageError):
    """A model cannot be trained so, or its training came to nothing: it diverged, memory ran out, nothing may be learned from."""

    status = 422


class MismatchError(AnnotriageError):
    """A reference cannot be used here: damaged, or fitted with another model, layer or spec."""

    status = 409


class SignatureError(AnnotriageError):
    """A certificate was changed after it was signed, or was signed by somebody else."""

    status = 422


class OutputError(AnnotriageError):
    """A result could not be written: the disk is full, the folder is taken or not writable."""

    status = 507


class UnknownError(AnnotriageError):
    """There is no such project, item, dataset or batch in the service."""

    status = 404


class StateError(AnnotriageError):
    """What was asked for cannot be done in the state that the project is in."""

    status = 409


class StoreError(AnnotriageError):
    """The database cannot be opened, was made by a newer version, or is in use in a way that does not work."""

    status = 503


class Overloaded(AnnotriageError):
    """More comes in than the service can take at this moment; what is refused may be sent again later."""

    status = 503


class ToolError(AnnotriageError):
    """The labeling tool refused a call, or it failed for a reason that trying again does not mend."""

    status = 502


class ToolUnavailable(ToolError):
    """The labeling tool was not reached, or failed in a way that may pass: nothing came of the call, try again later."""

    status = 503


class OutcomeUnknown(ToolUnavailable):
    """The call was sent, and no answer says what came of it: read back before sending it again."""


class ToolRefused(ToolError):
    """The labeling tool does not accept the token, or the account may not do this."""


class ToolGone(ToolError):
    """The labeling tool does not know what was asked for: the project, task or tab is deleted."""
