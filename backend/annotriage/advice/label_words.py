"""What the label audit found, in sentences: why a label is doubted, how many may be wrong, and on what that rests."""

from __future__ import annotations

from collections.abc import Sequence

from annotriage.advice.numbers import count, percent, percent_range, probability
from annotriage.advice.verdict_words import outlier_sentence
from annotriage.states import IssueKind

ASSUMPTIONS = (
    "Assumed: how often a label is wrong depends on its true class alone, and fewer than half of each class's labels are wrong. An item"
    " that is hard to see is doubted more often than an easy one, whether its label is wrong or not."
)
SEVERAL = (
    "Items may have several labels: the findings are an order in which to look, and their share is no rate of wrong labels. Each class adds"
    " doubts of its own."
)
MEANINGS = {
    IssueKind.WRONG: "probably another class",
    IssueKind.STRANGER: "probably none of the classes",
    IssueKind.AMBIGUOUS: "two classes are about as likely",
    IssueKind.MISSING: "probably a label is missing",
}


def finding_sentence(kind: IssueKind, given: str, likely: str, given_share: float, likely_share: float, strange: str) -> str:
    """Why one label is doubted. given_share, likely_share: probabilities of both. strange: how strange the item is, in a sentence."""
    if kind == IssueKind.STRANGER:
        return f"Labelled {given}, but like none of the classes{f'; nearest to {likely}' if likely else ''}. {strange}"
    if kind == IssueKind.AMBIGUOUS:
        return f"{likely} ({share(likely_share)}) and {given} ({share(given_share)}) are about as likely: look twice, or ask two people."
    return f"Labelled {given} ({share(given_share)} likely), looks like {likely} ({share(likely_share)})."


def answers_sentence(missing: Sequence[tuple[str, float]], doubted: Sequence[tuple[str, float]]) -> str:
    """The same where several labels may apply: classes that seem to be missing, and given ones that seem wrong, with probabilities."""
    parts = []
    if missing:
        parts.append(f"Not given, but likely: {', '.join(f'{name} ({share(of)})' for name, of in missing)}.")
    if doubted:
        parts.append(f"Given, but unlikely: {', '.join(f'{name} ({share(of)})' for name, of in doubted)}.")
    return " ".join(parts)


def rule_sentence(given: str, implied: str) -> str:
    """A label that a rule of the user asks for."""
    return f"The rule {given} => {implied} asks for {implied}."


def stranger_sentence(outlier_score: float, calibrated: bool) -> str:
    """How strange an item under a known label is."""
    return outlier_sentence(outlier_score, "held-out" if calibrated else "training")


def share(chance: float) -> str:
    """A probability that is never said to be certain either way: 0.9996 -> "over 99.9%", 0.0001 -> "under 0.1%"."""
    return "under 0.1%" if chance < 0.001 else probability(chance)


def noise_sentence(items: int, share_: float, low: float, high: float, findings: int) -> str:
    """How many of the labels may be wrong."""
    if not findings and not share_:
        return f"To the model none of {count(items, 'label')} looks wrong. We are 95% confident that at most {percent(high)} are."
    return (
        f"About {percent(share_)} of {count(items, 'label')} look wrong (likely {percent_range(low, high)});"
        f" {count(findings, 'item')} to look at."
    )


def answers_found_sentence(items: int, findings: int) -> str:
    """The same where items may have several labels."""
    return f"{count(findings, 'item')} of {items:,} to look at, the most doubtful first."


def source_sentence(folds: int, seen: float) -> str:
    """Where the probabilities come from. folds: 0 for the model's own. seen: share of the items that the model was trained on."""
    if folds:
        learned = f"The model was trained on {'these items' if seen > 0.95 else f'some {percent(seen, 0)} of these items'}" if seen else ""
        why = f"{learned}, so its own answers repeat their labels. " if learned else ""
        return (
            f"{why}Checked by {folds}-fold linear heads on its activations, each on items whose labels it did not see. The activations"
            " themselves may have learned some labels by heart, so some wrong ones stay unseen."
        )
    if seen:
        return (
            f"Checked by the model's own answers, though it was trained on some {percent(seen, 0)} of these items and may repeat their"
            " labels: leave out --folds 0 to have them checked by heads that did not see them."
        )
    return "Checked by the model's own answers: it was not trained on these items."


def agreement_sentence(agree: int, findings: int) -> str:
    """How many findings every way of looking points at."""
    if not findings:
        return ""
    return (
        f"On {agree:,} of {count(findings, 'finding')} filter, self-confidence and entropy agree: all three have them among the"
        f" {findings:,} most doubtful. Begin there."
    )


def new_class_sentence(label: str, items: int, outliers: int) -> str:
    """A label that the model has no class for."""
    strange = "1 looks strange to it, too" if outliers == 1 else f"{outliers:,} look strange to it, too"
    people = f"People labelled {count(items, 'item')} “{label}”, which is none of the model's classes"
    return f"{people}; {strange if outliers else 'none looks strange to it'}."


def training_sentence(share_: float, low: float, high: float, checked: int) -> str:
    """A training set that looks mislabelled, when a reference is fitted on it."""
    return (
        f"About {percent(share_)} of the training labels look wrong (likely {percent_range(low, high)}, from"
        f" {count(checked, 'item')}). To see which, with this reference and training set: annotriage audit-labels --reference REFERENCE"
        " --data TRAIN --out label-audit."
    )
