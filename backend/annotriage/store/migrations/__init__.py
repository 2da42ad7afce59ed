"""Migrations of the schema, run when the store is opened."""
