"""Routes as people read them, everywhere the same; programs and files keep the words of states.Route."""

from __future__ import annotations

from annotriage.states import SPOT_CHECK, Route

ROUTE_NAMES = {
    Route.AUTO: "automatic",
    Route.UNCERTAIN: "unsure",
    Route.OUTLIER: "strange",
    Route.FAILED: "unreadable",
}
ROUTE_MEANINGS = {
    Route.AUTO: "labelled by the model",
    Route.UNCERTAIN: "familiar, but the model is not sure enough",
    Route.OUTLIER: "unlike the training data",
    Route.FAILED: "could not be judged",
}


def route_name(route: str | None) -> str:
    """What people call a route: "outlier" -> "strange"; None, before an item is judged -> "not judged yet"."""
    if route is None or route == SPOT_CHECK:
        return route or "not judged yet"
    return ROUTE_NAMES[Route(route)]
