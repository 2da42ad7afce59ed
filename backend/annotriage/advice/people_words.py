"""How often people are wrong, how far they agree, and what sways them: one function a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from annotriage.advice.numbers import count, percent, percent_range

NOTHING = 0.005  # limits that near to none and all say nothing
FEW = 30  # answers below which a figure is a first impression
NO_GOLD = "How often people are wrong is not measured."
TO_KNOW = "To know, keep some known answers and mix them into what people are handed, for example 3% of it."
ALL_WRONG = (
    "Every answer differs from the known one. Look at the known answers and at the names of the labels first: it is likelier that they are"
    " amiss than that people are always wrong."
)
NO_ANSWERS = "People have answered nothing here yet. What they answer is compared as it comes in."
ONE_CLASS = "All known answers are of one class, so nothing shows how people do on the others. Keep known answers of other classes, too."
NOBODY_TWICE = (
    "No task was answered by two people, so nothing shows how far they agree. Let some tasks be answered twice: in Label Studio's project"
    " settings, Annotation, set annotations per task to 2."
)
ALIKE = (
    "All these answers are one and the same label. Chance would agree as well, so only the raw figure can be told: ask several people on"
    " tasks of other classes, too."
)
NO_BLIND = "Nobody has answered blind yet. The spot checks wait in the tab of that name, and the Label button hands them out."
NOT_CORRECTED = "Every guarantee takes people's labels as truth, and none is corrected by this."


def gold_sentence(wrong: int, answers: int, low: float, high: float) -> str:
    """How often people are wrong, by tasks with a known answer."""
    few = f" Few answers so far: the range narrows with more than {FEW}." if answers < FEW else ""
    return (
        f"People were wrong on {wrong:,} of {count(answers, 'task')} with a known answer that they were asked blind:"
        f" {percent(wrong / answers)}, likely {percent_range(low, high)}.{few}"
    )


def beside_guarantee(wrong: int, answers: int, low: float, high: float) -> str:
    """The same beside the guarantee, which takes people's labels as truth."""
    return f"{gold_sentence(wrong, answers, low, high)} {NOT_CORRECTED}"


def gold_state(share: float, waiting: int, open_: int, answered: int) -> str:
    """How the known answers stand, and what to do next."""
    if not waiting and not open_ and not answered:
        return NO_GOLD
    if not share:
        return f"{count(waiting, 'known answer is', 'known answers are')} kept, and none is mixed in: their share is 0% in the settings."
    if not waiting:
        return "All known answers are with people or answered: keep more, or nothing more is learned."
    return f"{count(waiting, 'known answer waits', 'known answers wait')} to be mixed in, {percent(share)} of what people are handed."


def left_out_unfit(number: int) -> str:
    """Known answers that the labeling config does not offer any more."""
    return (
        f"{count(number, 'known answer names a label', 'known answers name labels')} that the labeling config does not offer any more."
        " They are left out and not asked: put the labels back, or keep other known answers."
    )


def agreement_sentence(items: int, raw: float, low: float | None, high: float | None) -> str:
    """How often two people say the same."""
    limits = "" if low is None else f", likely {percent_range(low, high)}"
    return f"On {count(items, 'task')} that several people answered, two of them say the same in {percent(raw)} of the cases{limits}."


def left_out_second(number: int) -> str:
    """Tasks that are not in the agreement."""
    return (
        f"{count(number, 'task')} with a second answer that was asked for because the first contradicted the model"
        f" {'is' if number == 1 else 'are'} left out: such tasks are the hard ones."
    )


def contradicted_sentence(number: int) -> str:
    """Spot checks with one answer, which contradicts the model."""
    are, count_as, they_are = ("is", "counts", "it is") if number == 1 else ("are", "count", "they are")
    return (
        f"{count(number, 'spot check')} {are} contradicted by one person and {count_as} as wrong until a second one has answered."
        f" Until then {they_are} in the figures as spot checks, but in no list and in no table of classes."
    )


def anchoring_sentence(route: str, kept: float | None, low: float | None, high: float | None, blind: int) -> str:
    """How often a wrong suggestion is kept. route: as people call it."""
    if not blind:
        return f"No blind answer on {route} items yet, so nothing shows whether people are swayed there. Answer the spot checks."
    if kept is None or low is None or high is None:
        return f"Blind answers contradict none of the {route} labels, so no wrong suggestion was there to be kept."
    if low < NOTHING and high > 1 - NOTHING:
        return f"Too few {route} labels were called wrong blind to tell whether people are swayed there. Answer the spot checks."
    limits = f"likely {percent_range(low, high)}"
    return f"Of {route} labels that blind answers call wrong, people who saw them kept about {percent(kept, 0)} ({limits})."


def calling_sentence(name: str, rare: bool, missed: int, over: int) -> str:
    """A class that people call too seldom, or too often."""
    kind = "The rare class" if rare else "The class"
    if missed > over:
        return f"{kind} {name} is called too seldom: {missed:,} of it got another label, and only {over:,} of others got this one."
    return f"{kind} {name} is called too often: {over:,} of others got this label, and only {missed:,} of it got another one."


def rate_sentence(name: str, rare: bool, route: str, shown: float, blind: float) -> str:
    """A class that people name unlike often with a suggestion in view."""
    kind = "The rare class" if rare else "The class"
    more = "less" if shown < blind else "more"
    shares = f"{percent(shown)} beside {percent(blind)} of {route} items"
    return f"{kind} {name} is named {more} often with a suggestion in view than blind: {shares}."


def monotone_sentence(person: str, answers: int, label: str) -> str:
    """Somebody who always says the same."""
    said = f"{person[:1].upper()}{person[1:]} gave the same answer, {label}, on all of {count(answers, 'task')}"
    return f"{said}, while others gave several: ask whether the task is clear."


def letters(place: int) -> str:
    """What a person is called who is not to be named: 0 -> "person A", 26 -> "person AA"."""
    text, rest = "", place + 1
    while rest:
        rest, digit = divmod(rest - 1, 26)
        text = chr(ord("A") + digit) + text
    return f"person {text}"


def known_label(labels: Sequence[str]) -> str:
    """Labels as one text."""
    return " + ".join(labels) or "none of the classes"
