"""Why an item has its route, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from annotriage.advice.numbers import percent, probability
from annotriage.advice.strangeness_words import strangeness_sentence
from annotriage.states import HeldBack


def outlier_sentence(outlier_score: float, compared: str, nearest: str = "", look_alikes: int = 0) -> str:
    """How strange an outlier is. compared: "held-out" | "training" items; nearest: to what it is, where a class may be named.

    look_alikes: outliers in its group, itself included; 0 if it is in none.
    """
    share = "all" if outlier_score > 0.9994 else percent(outlier_score)
    alike = f"; one of {look_alikes:,} that look alike" if look_alikes else ""
    return f"Stranger than {share} of the {compared} items{f'; nearest to {nearest}' if nearest else ''}{alike}."


SPOT_CHECK_REASON = "Chosen at random to be answered blind: what the model says stays hidden until a person has answered."


def blind_outlier_sentence(
    outlier_score: float, compared: str, class_score: float | None, source_score: float | None, look_alikes: int = 0
) -> str:
    """Why an item is an outlier, for whoever is to say what it shows: no class is named. The arguments are those of both sentences."""
    sentence = outlier_sentence(outlier_score, compared, look_alikes=look_alikes)
    return f"{sentence} {strangeness_sentence(class_score, source_score)}".rstrip()


def revealed_sentence(labels: Sequence[str], confidence: float | None, cluster: str | None) -> str:
    """What the model says of an item whose class was hidden."""
    sure = "" if confidence is None else f", {probability(confidence)} sure"
    near = f"; nearest to {cluster}" if cluster else ""
    return f"The model says {' + '.join(labels) or 'none of the classes'}{sure}{near}."


@overload
def reason_sentence(reason: str, held_back: str | None, sent_by: str | None) -> str: ...


@overload
def reason_sentence(reason: str | None, held_back: str | None, sent_by: str | None) -> str | None: ...


def reason_sentence(reason: str | None, held_back: str | None, sent_by: str | None) -> str | None:
    """The model's reason for its own route, and why a person decides all the same; None before there is a verdict.

    held_back: a states.HeldBack. sent_by: who sent the item to review; None once the item shows something else than was sent.
    """
    if reason is None or held_back is None:
        return reason
    if held_back == HeldBack.PAUSE:
        why = "a person decides, because automatic labels are paused"
    else:
        why = f"sent to review by {sent_by or 'a person'}"
    return f"{reason.rstrip('.')}; {why}."
