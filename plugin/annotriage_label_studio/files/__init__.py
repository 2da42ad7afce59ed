"""Label Studio's files: tasks and exports that are read, predictions that are written."""
