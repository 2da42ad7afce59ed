"""One module per kind of page; each has `routes(pages, process)`, which adds its addresses."""
