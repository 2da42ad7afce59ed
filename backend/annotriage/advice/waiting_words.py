"""What waits for people, and how much work that is, in sentences: the same figures on every page."""

from __future__ import annotations

from collections.abc import Mapping

from annotriage.advice.numbers import count, listed
from annotriage.advice.page_words import span

HOUR = 3_600.0


def waiting_sentence(total: int, kinds: Mapping[str, int]) -> str:
    """How much waits, and why: "110 wait: 61 strange, 1 unreadable and 48 spot checks". kinds: by name, those of `kinds_in_words`."""
    if not total:
        return "Nothing waits for people"
    return f"{total:,} {'waits' if total == 1 else 'wait'}: {listed([f'{n:,} {name}' for name, n in kinds.items()])}"


def kinds_in_words(*, strange: int, unsure: int, sent: int, unreadable: int, spot_checks: int) -> dict[str, int]:
    """What waits by why, those that are there, as people call them."""
    named = {
        "strange": strange,
        "unsure": unsure,
        "sent to review by people": sent,
        "unreadable": unreadable,
        "spot check" if spot_checks == 1 else "spot checks": spot_checks,
    }
    return {name: n for name, n in named.items() if n}


def effort(total: int, seconds_per_answer: float | None) -> str:
    """How much work it is: "about 1.5 hours of work at 12 s an answer"; "" where nobody knows how long an answer takes."""
    if not total or seconds_per_answer is None:
        return ""
    return f"{work_time(total * seconds_per_answer)} of work at {round(max(1.0, seconds_per_answer))}\u00a0s an answer"


def work_time(seconds: float) -> str:
    """A stretch of work, roughly: "about 20 minutes", "about 1.5 hours", "about 120 hours"."""
    hours = seconds / HOUR
    if hours < 0.95:
        return f"about {span(max(60.0, seconds))}"
    rounded = round(hours) if hours >= 10 else round(2 * hours) / 2
    return f"about {rounded:g} {'hour' if rounded == 1 else 'hours'}"


def load(total: int, per_day: float | None) -> str:
    """How much people answer together, and how far what waits goes at that rate: "Together they answer about 39 items a day: what waits is
    done in about 3 days." "" where nobody knows."""
    if not per_day:
        return ""
    rate = (
        f"about {count(max(1, round(per_day)), 'item')} a day"
        if per_day >= 1
        else f"about {count(max(1, round(7 * per_day)), 'item')} a week"
    )
    days = total / per_day
    through = "less than a day" if days < 0.95 else f"about {count(max(1, round(days)), 'day')}"
    return f"Together they answer {rate}{f': what waits is done in {through}' if total else '; nothing waits now'}."


def pace(total: int, per_day: float | None) -> str:
    """When people are through, at the rate at which they answered lately. per_day: None before anybody can know it."""
    if not total:
        return ""
    if per_day is None:
        return "how many days that takes is known after a day of answers"
    if per_day <= 0:
        return "nobody has answered recently"
    days = total / per_day
    return f"done in {'less than a day' if days < 0.95 else 'about ' + count(max(1, round(days)), 'day')} at the current rate"
