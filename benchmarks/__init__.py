"""The maintainers' measurements: programs, and the figures they gave as JSON."""
