"""Migrations of the schema, run when the store is opened.

Replicas are upgraded one after the other, so that old and new code work on the same database for a while. Hence each change comes in two
migrations, named by what they are safe with (`store.upgrading` goes by the names, and tells old code whether it may run):

- `NNNN_pre_<what>`: before any new code runs. It only adds what the old code does not notice: tables, columns that may be null or have a
  server default, indexes that no present row breaks. The new code writes both the old and the new place, and reads the new one. Old
  code goes on, and starts again, on a database that has it.
- `NNNN_post_<what>`: in the release after, when no old code is left. It fills in what old code wrote meanwhile, then drops, renames,
  forbids null, or tightens a constraint. Code that does not know it is refused from then on; there are no downgrades.

The state that a column holds never changes its meaning in place: it becomes a new column. A migration is one transaction, and is
written for both databases. As long as nothing is released, `0001_the_first_schema` is changed in place.
"""
