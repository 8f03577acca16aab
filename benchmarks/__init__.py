"""Programs that measure the project, beside what they measured."""
