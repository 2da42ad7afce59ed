"""The tabs of a project's pages: the endpoint that each leads to, and its name, in the order in which they stand."""

PROJECT_TABS = (
    ("project_overview", "Overview"),
    ("map", "Map"),
    ("queue", "Queue"),
    ("diversity", "Diversity"),
    ("groups", "Groups"),
    ("guarantee", "Guarantee"),
    ("label_audit", "Label audit"),
    ("people", "People"),
    ("training", "Training"),
    ("compare", "Compare"),
    ("settings", "Settings"),
)
