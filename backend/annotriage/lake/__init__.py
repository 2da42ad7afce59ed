"""Data that no single machine holds: the same triage by many workers, on Ray Data."""
