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
    ("people", "People"),
    ("training", "Training"),
    ("model", "Model"),
    ("compare", "Compare"),
    ("settings", "Settings"),
)

MODEL_PAGES = (  # of the tab Model
    ("model", "What it is"),
    ("model_diagnosis", "Diagnosis"),
    ("model_atlas", "Atlas"),
    ("model_image", "One image"),
    ("model_items", "What to label"),
    ("model_graph", "Attribution graph"),
    ("model_units", "Units and concepts"),
    ("model_layers", "Layers and training"),
)
