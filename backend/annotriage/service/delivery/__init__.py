"""What goes back to the labeling tool: predictions, fields of tasks, accepted labels, and what is routed or scored anew."""
