"""Routes as people read them, everywhere the same; programs and files keep the words of states.Route."""

from __future__ import annotations

from annotriage.states import SPOT_CHECK, Failure, Route

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
FAILURES = {
    Failure.ADDRESS: "the data name no picture that can be read",
    Failure.FORBIDDEN: "the picture may not be fetched",
    Failure.REFUSED: "reading the picture is refused",
    Failure.GONE: "the file is not there",
    Failure.UNAVAILABLE: "the picture's server is not reached",
    Failure.TOO_LARGE: "the picture is too large",
    Failure.UNREADABLE: "the file is no picture, or is damaged",
    Failure.UNFIT: "the model takes something else",
    Failure.MODEL: "the model failed",
    Failure.REPEATED: "the id was used before",
    Failure.UNLISTED: "the labeling tool itself fails to show the task",
}


def route_name(route: str | None) -> str:
    """What people call a route: "outlier" -> "strange"; None, before an item is judged -> "not judged yet"."""
    if route is None or route == SPOT_CHECK:
        return route or "not judged yet"
    return ROUTE_NAMES[Route(route)]
