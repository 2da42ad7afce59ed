"""What annotators work in: labeling configs, and results and answers as they are stored on tasks."""
