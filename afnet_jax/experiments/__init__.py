"""Experiments: one run from its config to its report, and all runs of the paper."""
