"""The parts of a `FileStore`."""
