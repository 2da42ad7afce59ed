"""How projects, datasets, items and guarantees stand: made here once, for the JSON API, the pages and the command line."""
