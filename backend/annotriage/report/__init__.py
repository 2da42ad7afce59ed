"""Results as files for people: the folder of a triage, and its report page with charts."""
