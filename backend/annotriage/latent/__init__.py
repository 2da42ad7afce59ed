"""Numbers in, numbers out: what activations say about an item and about a dataset. No I/O, no global state."""
