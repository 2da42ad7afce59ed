"""The tabs of a project's pages: the endpoint that each leads to, and its name, in the order in which they stand."""

PROJECT_TABS = (
    ("project_overview", "Overview"),
    ("map", "Map"),
    ("queue", "Queue"),
    ("items", "Items"),
    ("diversity", "Diversity"),
    ("groups", "Groups"),
    ("guarantee", "Guarantee"),
    ("label_audit", "Label audit"),
    ("training", "Training"),
    ("compare", "Compare"),
    ("settings", "Settings"),
)
