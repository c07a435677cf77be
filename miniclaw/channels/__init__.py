"""Channels: each turns its own wire into `InboundMessage` and `OutboundMessage`."""
