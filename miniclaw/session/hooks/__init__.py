"""The hooks of a program that embeds the runtime: it is told of sessions that are due, and asked before a removal."""
