"""Migrations of the schema, run when the store is opened.

Replicas are upgraded one after the other, so that old and new code work on the same database for a while. Hence each change comes in two
migrations, named by what they are safe with:

- `NNNN_pre_<what>`: before any new code runs. It only adds what the old code does not notice: tables, columns that may be null or have a
  server default, indexes that no present row breaks. The new code writes both the old and the new place, and reads the new one.
- `NNNN_post_<what>`: in the release after, when no old code is left. It fills in what old code wrote meanwhile, then drops, renames,
  forbids null, or tightens a constraint.

The state that a column holds never changes its meaning in place: it becomes a new column. A migration is one transaction, and is
written for both databases. As long as nothing is released, `0001_the_first_schema` is changed in place.
"""
