"""The most useful next thing to do in a project, as a sentence and the words on its button."""

from __future__ import annotations

from annotriage.advice.numbers import count, percent

LEAST_GROUP = 5  # members that wait, from which on a group is worth a look of its own
NAME = 60  # characters of the name of a task

Words = tuple[str, str]  # the sentence, and what its button says


def import_tasks() -> Words:
    """Nothing came in yet."""
    return "No item was judged yet. Import tasks, and the first verdicts follow within seconds.", "Open the project"


def judging(waiting: int) -> Words:
    """Items came in and the first are being judged."""
    return f"{count(waiting, 'item is', 'items are')} being judged. The first verdicts follow within seconds.", "See the system"


def recalibrate(answers: int) -> Words:
    """Enough blind answers are there for a new guarantee."""
    return f"{count(answers, 'blind answer is', 'blind answers are')} there, enough for a new guarantee.", "Recalibrate"


def calibrate(missing: int, answers: int) -> Words:
    """Labels are not automatic, and blind answers are what is missing."""
    got = f" ({answers:,} there)" if answers else ""
    return f"No label is automatic: {count(missing, 'more blind answer is', 'more blind answers are')} needed{got}.", "Help calibrate"


def confirm(contradicted: int) -> Words:
    """The alarm stopped labels on one person's word."""
    said = count(contradicted, "wrong answer needs", "wrong answers need")
    return f"Automatic labels are stopped: {said} a second opinion.", "Give a second opinion"


def decide(checks: int) -> Words:
    """One person alone answers, so whoever manages settles contradictions."""
    return f"{count(checks, 'spot check waits', 'spot checks wait')} for your decision: one person alone answers here.", "Decide"


def look_alikes(alike: int, strange: int) -> Words:
    """Many of the strange items that wait look alike."""
    return f"{alike:,} of the {strange:,} strange items that wait look alike: a new class, or a broken source?", f"See the {alike:,}"


def listed(waiting: int, strange: int, unreadable: int) -> Words:
    """The list of a report: unreadable items are at its top, and strange ones next."""
    see = "See it" if waiting == 1 else "See them"
    waits = f"{count(waiting, 'item waits', 'items wait')} for people"
    if unreadable == waiting:
        return f"{waits}: {'it is' if waiting == 1 else 'all are'} unreadable.", see
    if unreadable:
        then = f", then {'1 strange one' if strange == 1 else f'{strange:,} strange ones'}" if strange else ""
        return f"{waits}: {unreadable:,} unreadable first{then}.", see
    if strange > 1:
        return f"{waits}. Begin with the strangest.", see
    return f"{waits}{'. Begin with the strange one' if strange and waiting > 1 else ''}.", see


def differing(stranger: str, share: float, other: str, other_share: float) -> Words:
    """Two values of one data field bring very different shares of outliers."""
    return (
        f"{stranger} brings {percent(share, 0)} strange items, {other} only {percent(other_share, 0)}: what is different?",
        "Compare them",
    )


def answer_checks(outstanding: int, most: int) -> Words:
    """Accepting automatic labels waits for spot checks to be answered."""
    return (
        f"{count(outstanding, 'spot check waits', 'spot checks wait')}; above {most:,} no label becomes an annotation.",
        "Answer spot checks",
    )


def work_off(waits: str) -> Words:
    """Nothing special: the queue. waits: how much waits and why, the sentence of every page."""
    return f"{waits}.", "Open the queue"


def spot_checks_left(checks: int) -> Words:
    """Nothing but spot checks waits."""
    return f"Only {count(checks, 'spot check waits', 'spot checks wait')} to be answered blind.", "Answer spot checks"


def nothing() -> Words:
    """All is done."""
    return "Nothing waits for people.", "See how the data changes"


def strangest(task: str) -> Words:
    """The queue: where to begin. task: the strangest that waits."""
    return f"The strangest item that waits is task {task[:NAME]}: say what it shows.", "Start with it"


def first(task: str) -> Words:
    """The queue where nothing strange waits, or the list is narrowed to something else."""
    return f"Task {task[:NAME]} comes first: say what it shows.", "Start with it"


def second(task: str) -> Words:
    """The queue where all that comes first has one person's answer, and wants another's."""
    return f"Task {task[:NAME]} comes first: it needs the answer of a second person.", "Start with it"


def largest_group(items: int) -> Words:
    """The map: a group among what is strange."""
    return f"{items:,} strange items look alike, the largest group: see where they lie.", "Show the group"


def group_shown(number: int) -> Words:
    """The map, on which one group is shown."""
    return f"Group {number} is shown: is it a new class, or a broken source?", f"Decide on group {number}"


def strange_shown(items: int) -> Words:
    """The map, on which no group is known."""
    return (
        f"{count(items, 'item is', 'items are')} strange: show {'it' if items == 1 else 'them'} alone, then click a point.",
        "Show what is strange",
    )


def decide_group(number: int, waiting: int) -> Words:
    """The groups: the largest of which something waits."""
    waits = f"{count(waiting, 'item', 'items')} of group {number} {'waits' if waiting == 1 else 'wait'}"
    return f"{waits}: a new class, or a broken source?", f"Decide on group {number}"


def no_group_waits() -> Words:
    """The groups: nothing of any of them waits."""
    return "Nothing to do here: no item of a group waits.", ""


def check_limit(checks: int) -> Words:
    """The guarantee: its evidence grows with each spot check that is answered. checks: of automatic labels, still open."""
    waits = count(checks, "automatic label waits", "automatic labels wait")
    return f"{waits} to be checked blind: the answers show whether the limit holds.", "Answer spot checks"


def decide_findings(findings: int) -> Words:
    """The label audit: labels in doubt."""
    return f"{count(findings, 'label looks', 'labels look')} wrong: decide on {'it' if findings == 1 else 'each'}.", "Decide"


def findings_spent() -> Words:
    """The label audit: what is left of it is hardly worth a look."""
    return "Nothing to do here: fewer than one in ten of the last findings were real.", ""


def no_findings() -> Words:
    """The label audit: nothing is found."""
    return "Nothing to do here: the model doubts no label.", ""


def wait_for(what: str) -> Words:
    """Something is at work. what: as a sentence."""
    return f"{what} Nothing to do here until then.", ""


def check_labels() -> Words:
    """The label audit before the first one."""
    return "No label that people gave was checked yet: let the model look for those that seem wrong.", "Check the labels"


def set_gold() -> Words:
    """People: nothing is known of how often they are wrong."""
    return "How often people are wrong is not measured: keep some known answers, to be asked again.", "Keep known answers"


def share_gold(waiting: int) -> Words:
    """People: known answers are kept, and the settings let none be handed out."""
    said = count(waiting, "known answer is", "known answers are")
    return f"{said} kept, but the settings hand none out to people.", "Set their share"


def answer_gold(waiting: int) -> Words:
    """People: known answers are asked among the spot checks."""
    said = count(waiting, "known answer waits", "known answers wait")
    return f"{said} among the spot checks: answers to spot checks show how often people are wrong.", "Answer spot checks"


def take_over() -> Words:
    """Training: the new model is better. The page has the button."""
    return "The new model is better: let it take over.", ""


def more_answers() -> Words:
    """Training: the new model is not shown to be better. The page has the button."""
    return "The new model is not shown to be better: answer spot checks, then train again.", ""


def worse() -> Words:
    """Training: the new model is worse. The page has the button."""
    return "The new model is worse: have people answer more of what is strange or unsure, then train again.", ""


def train() -> Words:
    """Training: there is something to learn. The page has the button."""
    return "People have answered what a new model can learn from: train one.", ""
