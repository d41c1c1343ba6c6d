"""The package's speed beside that of others: the same work in one process, taken in turn, and floors for it."""
