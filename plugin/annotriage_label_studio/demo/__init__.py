"""A real Label Studio on this machine, for the demo."""
