"""The pages, one module each; a view asks the readings and the store a few questions, fills one plain dataclass and
renders the template of its name.

Nothing is computed here that a snapshot or a job can have ready.
"""
