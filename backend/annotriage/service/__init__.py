"""The running service: a web process that answers, a worker that judges and delivers, and a jobs process for what takes long.

All state is in the store, so that any process may die at any moment.
"""
