"""Folds trained and evaluated side by side."""
