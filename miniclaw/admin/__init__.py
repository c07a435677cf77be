"""The control plane: the JSON API, health, metrics, and the client of it that the commands use."""
