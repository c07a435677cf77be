"""Background upkeep: the daily cleanup, its announcements, and the measurement of disk usage."""
