"""From a waiting item to its verdict: media are fetched, the model runs, and what annotators see is decided."""
