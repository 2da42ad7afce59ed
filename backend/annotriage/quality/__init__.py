"""Numbers in, answers out: which given labels look wrong, and which items are the same item twice."""
