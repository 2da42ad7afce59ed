"""References and whole datasets: fit, calibrate, judge, assess and compare. Returns what it found and writes no results."""
