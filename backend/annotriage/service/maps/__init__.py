"""Maps of a project's items: made in the background, and added to as items come in."""
