"""Programs for maintainers, beside the figures that they stored."""
