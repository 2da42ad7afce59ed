"""Keeping the guarantee while the service runs: spot checks, the alarm's pause, recalibration and new limits."""
