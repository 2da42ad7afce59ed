"""How a project stands, in sentences for people at the command line."""

from __future__ import annotations

from annotriage.advice.numbers import count
from annotriage.advice.route_words import route_name
from annotriage.service.readings.project import ProjectDetail


def in_words(detail: ProjectDetail) -> list[str]:
    """A project's state, a sentence a line."""
    line = detail.project
    counts = ", ".join(f"{route.items:,} {route_name(route.route)} ({route.open:,} open)" for route in line.routes) or "nothing judged yet"
    words = [f"Project {line.project}, {line.title!r}: {line.address}", f"  {line.version}: {counts}."]
    words.append(f"  {line.waits}. {line.waiting:,} are still to be judged, {_undelivered(detail)} to be delivered.")
    if refused := detail.undelivered.get("refused"):
        words.append(f"  {count(refused, 'prediction')} refused by the labeling tool; annotriage doctor says why.")
    words.append(f"  {detail.guarantee}")
    if detail.rescoring is not None:
        words.append(
            f"  {detail.rescoring.version} takes over once all is delivered: {detail.rescoring.waiting:,} still to be judged,"
            f" {detail.rescoring.undelivered:,} to be delivered."
        )
    states = (
        (line.watch, "Watched only: nothing is written into it."),
        (line.gone, "It was deleted in the labeling tool; annotriage disconnect forgets it."),
        (line.paused, f"No further label becomes automatic: {line.paused}"),
        (line.trouble, f"Nothing is judged: {line.trouble}"),
        (line.problem, f"Nothing is delivered: {line.problem}"),
    )
    return words + [f"  {text}" for holds, text in states if holds]


def _undelivered(detail: ProjectDetail) -> str:
    return f"{sum(number for state, number in detail.undelivered.items() if state != 'refused'):,}"
