"""An answer of the advice as a badge and what stands beside it, in the report and on pages alike."""

from __future__ import annotations

PERSON_FIRST = "a person first: a new class or a broken source?"
BADGES = {"machine": "yes", "mixed": "in part", "people": "no"}  # of the question whether to annotate automatically


def badge_of(answer: str, headline: str) -> tuple[str, str]:
    """The badge and the headline beside it, which does not repeat it: ("no", "no: it adds nothing new") -> ("no", "It adds nothing new").

    Where a person must look before anything is decided, the badge says that.
    """
    badge = BADGES.get(answer, answer)
    if headline == PERSON_FIRST:
        badge, headline = (part.strip() for part in headline.split(":", 1))
    headline = headline.removeprefix(f"{badge}: ").removeprefix(f"by {answer}, ").removeprefix("cannot be said: ")
    return badge, headline[:1].upper() + headline[1:]
