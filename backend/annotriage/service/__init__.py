"""The running service: a web process that answers, a worker that judges and delivers, and a jobs process for what takes long.

Around the walk data -> model -> latent -> triage -> store -> delivery; all state is in the store.
"""
