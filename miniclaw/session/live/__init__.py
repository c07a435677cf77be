"""Sessions in memory and their store: locks, loading, saving, removing and moving on the trio thread."""
