"""The pages, one module each; a view asks readings and store, fills one plain dataclass and renders the template of its name.

Nothing is computed here that a snapshot or a job can have ready.
"""
