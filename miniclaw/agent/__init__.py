"""The agent: messages in, a model asked, replies out."""
