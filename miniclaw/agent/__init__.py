"""The agent: takes messages, asks a model, and sends replies."""
