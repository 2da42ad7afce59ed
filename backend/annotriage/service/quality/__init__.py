"""What the project's own answers are worth: labels that people gave are audited, and people are asked what is known."""
