"""Surfaces without colours: cleaned, laid into the canonical pose, seen as depth images."""
