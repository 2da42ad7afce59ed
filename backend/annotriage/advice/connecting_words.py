"""What connecting a project would bring, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotriage.advice.event_words import setting_value
from annotriage.advice.numbers import count
from annotriage.advice.route_words import ROUTE_NAMES
from annotriage.states import Route

EMPTY = "There is no task yet on which the reference could be tried: import some, and ask again."


def expected_sentences(total: int, tried: int, routes: Mapping[str, int], checks: int, audits: int) -> list[str]:
    """How many of all tasks would take which way, and how many people would answer blind. tried: how many were judged for it.

    checks: all blind answers, audits: those on automatic labels besides the random part of all items.
    """
    about = "" if tried == total else "about "
    ways = ", ".join(f"{about}{routes.get(route, 0):,} {word}" for route, word in ROUTE_NAMES.items())
    on = f"all {count(total, 'task')}" if tried == total else f"{tried:,} of the {count(total, 'task')}, drawn at random"
    said = [f"Tried on {on}: {ways}."]
    automatic = count(routes.get(Route.AUTO, 0), "automatic one")
    said.append(
        f"People would answer about {checks:,} of them blind, as spot checks: {checks - audits:,} drawn from all, and {audits:,} more"
        f" from the {automatic}. At least 20 automatic labels a week are checked, so more of them at the start."
    )
    return said


def setting_taken_over(name: str, before: Any, now: Any) -> str:
    """A project that is connected already takes a setting over."""
    return f"Setting {name}: {setting_value(before)} -> {setting_value(now)}, as the settings say now."


def setting_kept(name: str, now: Any, other: Any) -> str:
    """A project that is connected already keeps what its Settings page has."""
    return f"Setting {name} stays {setting_value(now)}, as it was set on the Settings page; the settings say {setting_value(other)}."
