"""Training: labelled items -> a new model, a new reference, and how the two models compare on items that neither has seen."""
