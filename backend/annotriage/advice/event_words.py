"""What happened to a project, in sentences: of each kind of event one function, which takes its facts by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from annotriage.advice.guarantee_words import Evidence, evidence_sentence
from annotriage.advice.look_alike_words import step_sentence
from annotriage.advice.numbers import count, percent
from annotriage.advice.state_words import alarm_sentence, pause_sentence
from annotriage.states import Alarm, EventKind, Pause

Changes = Mapping[str, Sequence[Any]]  # by setting: the value before and after


def event_sentence(kind: EventKind, facts: Mapping[str, Any]) -> str:
    """What an event says. facts: as they were written, by name."""
    return SENTENCES[kind](**facts)


def connected(version: str, watch: bool) -> str:
    """The project is triaged from now on. watch: nothing is written into the labeling tool."""
    return f"connected with {version}{', only watched' if watch else ''}"


def gone(error: str) -> str:
    """The project is not in the labeling tool any more."""
    return f"the project was deleted in the labeling tool ({error}); what was found out stays"


def failed(error: str) -> str:
    """What went wrong, as whoever met it said."""
    return error


def repaired(what: str) -> str:
    """What was put right in the labeling tool."""
    return what


def solved() -> str:
    """What stopped delivery is gone."""
    return "the labeling config fits the model again: delivery goes on"


def retried(predictions: int) -> str:
    """A person had predictions sent again."""
    return f"{count(predictions, 'prediction')} that could not be delivered: sent again"


def paused(reason: str) -> str:
    """A person stopped automatic labels."""
    return pause_sentence(Pause(reason, 0.0))


def resumed() -> str:
    """A person let automatic labels go on."""
    return "automatic labels go on"


def alarm(project: str, **facts: Any) -> str:
    """The alarm stopped automatic labels. facts: those of states.Alarm."""
    return alarm_sentence(Alarm(**facts), project)


def alarm_over() -> str:
    """An alarm that nobody had confirmed is over."""
    return "the contradictions were not confirmed: the alarm stops automatic labels no longer"


def decided(task: str, by: str, right: bool) -> str:
    """A person who manages settled a spot check in the place of a second answer."""
    return f"{by} decided spot check {task}: the model was {'right' if right else 'wrong'}"


def revealed(task: str, by: str) -> str:
    """A person had the model's answer on an outlier told before anybody had answered."""
    return f"{by} had the model's answer on task {task} revealed"


def settings(changes: Changes, by: str) -> str:
    """A person changed how the project is triaged."""
    said = ", ".join(f"{name} {setting_value(before)} -> {setting_value(after)}" for name, (before, after) in changes.items())
    return f"{said} by {by}"


def limits(changes: Changes, by: str | None, guarantee: Mapping[str, Any]) -> str:
    """Other limits were tested on the same held-out items. guarantee: the facts of an `Evidence`."""
    said = "; ".join(f"{name} {_of_limit(before)} -> {_of_limit(after)}" for name, (before, after) in changes.items()) or "nothing changed"
    return f"{said}{f' by {by}' if by else ''}: {evidence_sentence(Evidence(**guarantee))}"


def _of_limit(value: Any) -> str:
    """A number, or the numbers that names have."""
    return f"{value:g}" if isinstance(value, int | float) else ", ".join(f"{name} = {number:g}" for name, number in value) or "none"


def limits_withdrawn(by: str) -> str:
    """A person went back to the present limits before others were tested."""
    return f"the limits asked for are no longer tested: {by} went back to the current ones"


def recalibrated(answers: int, guarantee: Mapping[str, Any]) -> str:
    """The guarantee was made anew. guarantee: the facts of an `Evidence`."""
    return f"on {answers} answers of the sample: {evidence_sentence(Evidence(**guarantee))}"


def stricter(wrong: int, answers: int, guarantee: Mapping[str, Any]) -> str:
    """Spot checks moved the gate. guarantee: the facts of an `Evidence`."""
    return (
        f"{wrong:,} of {count(answers, 'automatic label')} that people checked blind were wrong, more than the limit allows: from now on"
        f" labels must be surer to be automatic, until the next recalibration. {evidence_sentence(Evidence(**guarantee))}"
    )


def trained(version: str, by: str, takes_over: str | None) -> str:
    """A new model was trained. takes_over: what the comparison with the current one says, None where there was nothing to compare on."""
    found = {
        "yes": "better on fresh random items, and not worse on the old classes",
        "no": "worse on the old classes",
        "undecided": "not shown to be better yet",
        None: "there are no answered random items to compare it on",
    }[takes_over]
    return f"new model {version}{f' for {by}' if by else ''}: {found}"


def not_taken_over(version: str, error: str) -> str:
    """A new model is shown to be better and was to take over by itself. error: what keeps it from that, as whoever met it said."""
    return f"{version} could not take over by itself: {error}; then let it take over on the page Training"


def chosen(version: str, by: str, back: bool) -> str:
    """Somebody lets another model take over. back: the one that was there before."""
    return f"{by} {'goes back to' if back else 'lets'} {version}{'' if back else ' take over'}"


def class_added(label: str, by: str) -> str:
    """A person let the labeling tool offer another label."""
    return f"{by} added the class {label} to the labeling config"


def class_taken_back(label: str, by: str) -> str:
    """A person took such a label away again."""
    return f"{by} took the class {label} out of the labeling config again"


def switched(version: str) -> str:
    """The next reference is the current one."""
    return f"{version} has taken over: every task has its prediction and its verdict from it"


def rerouted(by: str, to: str, items: int, undone: bool, reason: str | None = None) -> str:
    """A person sent items to review or took them out of it, or undid that. to: review | back, of what was done or undone. reason: why
    they were set aside."""
    if reason is not None:
        return f"{by} {'undid setting' if undone else 'set'} {count(items, 'item')} aside: {reason}"
    some, where = f"{items:,} item{'' if items == 1 else 's'}", "to review" if to == "review" else "out of review"
    if undone:
        return f"{by} undid {'sending' if to == 'review' else 'taking'} {some} {where}"
    return f"{by} {'sent' if to == 'review' else 'took'} {some} {where}"


def accepted(batch: int, labels: int) -> str:
    """Automatic labels became annotations."""
    return f"batch {batch}: {labels} automatic labels became annotations"


def undone(batch: int, labels: int) -> str:
    """Accepted labels were taken back."""
    return f"batch {batch}: {labels} accepted labels were taken back"


def inherited(items: int) -> str:
    """Near duplicates of answered items got their answers as predictions."""
    which = "it repeats" if items == 1 else "they repeat"
    return f"{count(items, 'near duplicate')} got the answer of the item that {which}, as a prediction"


def inherited_undone(items: int, by: str) -> str:
    """A person took inherited answers back."""
    return f"{by} took the inherited answers of {count(items, 'near duplicate')} back"


def certified(dataset: str, labels: int, drawn: int, by: str) -> str:
    """The automatic labels of a dataset were fixed."""
    more = f", {count(drawn, 'check')} drawn for it" if drawn else ""
    return f"{by} asked for a certificate of {dataset}: {count(labels, 'automatic label')}{more}"


def erased(items: int, by: str) -> str:
    """All that was known of items was erased; which ones they were is not told."""
    return f"{by} erased {count(items, 'item')}: all that was known of {'it' if items == 1 else 'them'} here"


SENTENCES: Mapping[EventKind, Callable[..., str]] = {
    EventKind.CONNECTED: connected,
    EventKind.GONE: gone,
    EventKind.UNREACHABLE: failed,
    EventKind.REPAIRED: repaired,
    EventKind.TROUBLE: failed,
    EventKind.PROBLEM: failed,
    EventKind.SOLVED: solved,
    EventKind.REFUSED: failed,
    EventKind.RETRIED: retried,
    EventKind.PAUSED: paused,
    EventKind.RESUMED: resumed,
    EventKind.ALARM: alarm,
    EventKind.ALARM_OVER: alarm_over,
    EventKind.DECIDED: decided,
    EventKind.REVEALED: revealed,
    EventKind.SETTINGS: settings,
    EventKind.LIMITS: limits,
    EventKind.LIMITS_FAILED: failed,
    EventKind.STRICTER: stricter,
    EventKind.LIMITS_WITHDRAWN: limits_withdrawn,
    EventKind.RECALIBRATED: recalibrated,
    EventKind.TRAINED: trained,
    EventKind.TRAINING_FAILED: failed,
    EventKind.NOT_TAKEN_OVER: not_taken_over,
    EventKind.CHOSEN: chosen,
    EventKind.RECALIBRATION_FAILED: failed,
    EventKind.CLASS_ADDED: class_added,
    EventKind.CLASS_TAKEN_BACK: class_taken_back,
    EventKind.SWITCHED: switched,
    EventKind.REROUTED: rerouted,
    EventKind.ACCEPTED: accepted,
    EventKind.UNDONE: undone,
    EventKind.INHERITED: inherited,
    EventKind.INHERITED_UNDONE: inherited_undone,
    EventKind.LOOK_ALIKES: step_sentence,
    EventKind.CERTIFIED: certified,
    EventKind.ERASED: erased,
    EventKind.ERASURE_FAILED: failed,
}


def setting_value(value: Any) -> str:
    """What a setting is set to, as people write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ", ".join(map(str, value))
    return percent(value) if isinstance(value, float) else str(value) or "none"
