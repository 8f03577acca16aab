"""Synthetic subjects with known truth, made by code alone: the project's own data set.

A face is a sheet of nodes (`template`), shaped by who it is (`identity`) and by what it does (`expression`), set
with eyeballs and teeth (`head`), painted (`skin`), lit and seen (`picture`), posed and disturbed (`sensor`), and
scanned as the databases do (`capture`). `population` makes scans of people and writes them.
"""

from afnet_jax.synthetic.population import Truth, make_scan, write_people

__all__ = ["Truth", "make_scan", "write_people"]
