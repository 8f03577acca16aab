"""From prepared face maps to a tfds data set and to arrays in memory."""
