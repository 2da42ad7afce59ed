"""Words of the pages: routes, moments, ages, and shares as people who know no statistics read them."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from datetime import UTC, datetime

from annotriage.advice.diversity_words import Excess
from annotriage.advice.numbers import count

UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"))


def moment(at: float | None) -> str:
    """A moment: "26 Nov 2026, 17:05 UTC"."""
    if at is None:
        return "never"
    there = datetime.fromtimestamp(at, UTC)
    return f"{there.day} {there:%b %Y, %H:%M} UTC"


def day(at: float) -> str:
    """The day of a moment: "2026-11-26"."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def ago(at: float | None) -> str:
    """How long ago a moment was, roughly: "3 minutes ago"."""
    return "never" if at is None else f"{span(max(0.0, time.time() - at))} ago"


def span(seconds: float) -> str:
    """A stretch of time, roughly: "3 minutes", "2 days"."""
    for size, name in UNITS:
        if seconds >= size:
            return count(round(seconds / size), name)
    return "less than a minute" if seconds >= 10 else "a few seconds"


def number(value: float | None, digits: int = 3) -> str:
    """A figure with so many digits that count, or "not known"."""
    if value is None:
        return "not known"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"


def sentence(said: str, names: Collection[str] = ()) -> str:
    """What an error says, as a sentence: with an end, and a capital letter where it begins with a plain word.

    names: of settings, which stay as they are written; so do names of fields and files, and what is quoted.
    """
    first = re.match(r"[a-z]+(?![\w.:/\\-]| = )", said)
    begun = said[:1].upper() + said[1:] if first and first[0] not in names else said
    return begun if not begun or begun[-1] in ".!?" else f"{begun}."


def about_one_in(share: float) -> str:
    """A share as people say it: 0.124 -> "about 1 in 8", 0.7 -> "about 7 in 10", 0.0 -> "none"."""
    if share <= 0:
        return "none"
    if share >= 0.95:
        return "nearly every one"
    if share > 0.4:
        return f"about {round(10 * share)} in 10"
    return f"about 1 in {round(1 / share):,}"


def are_many(some: str) -> bool:
    """Whether a share in the words of `about_one_in` takes the plural: "about 7 in 10" items are, "about 1 in 10" is."""
    return " in 10" in some and " 1 in " not in some


def reading(share: float | None, expected: float | None, excess: Excess, held_out: int) -> str:
    """What a diversity score means, in a sentence. expected: of normal data, None where `excess` is unknown; held_out: items behind it."""
    if share is None:
        return "Nothing could be scored yet."
    some = about_one_in(share)
    many = are_many(some)
    said = f"{some[0].upper()}{some[1:]} {'of the new items is' if some == 'none' else 'new items are' if many else 'new items is'}"
    said += " unlike anything the model was trained on."
    if expected is None or excess is Excess.UNKNOWN:
        if held_out:
            few = count(held_out, "held-out item is", "held-out items are")
            return f"{said} {few} too few to say what normal data would give."
        return f"{said} Without held-out items nobody knows what normal data would give."
    normal = about_one_in(expected).removeprefix("about ")
    if excess is Excess.NEW:
        return f"{said} Normal data would give {normal}, so {'much' if share > 2 * expected else 'some'} of this is new."
    if excess is Excess.OPEN:
        return f"{said} Normal data would give {normal}: no clear difference, but there is too little data to be sure."
    return f"{said} Normal data would give {normal}, so this looks like normal data."


def stamp(at: float | None) -> str | None:
    """A moment for programs: "2026-11-26T17:05:00Z"."""
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
