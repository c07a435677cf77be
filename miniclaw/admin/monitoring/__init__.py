"""Health, metrics and the live status of a running gateway."""
