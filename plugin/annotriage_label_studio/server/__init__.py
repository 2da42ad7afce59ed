"""A running Label Studio: its connection, and everything that is asked of it or set up in it."""
