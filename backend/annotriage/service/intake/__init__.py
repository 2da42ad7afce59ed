"""What comes from the labeling tool: new tasks, changes, and people's answers."""
