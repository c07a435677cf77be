"""Sessions in memory and their store: locks, loading, saving, removal and moves on the trio thread."""
