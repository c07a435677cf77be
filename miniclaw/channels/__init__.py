"""Channels: each translates between its own wire and `InboundMessage` and `OutboundMessage`."""
