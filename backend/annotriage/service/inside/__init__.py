"""Looking into the model of a project: what is found, by jobs, and kept for its pages."""
