"""Made-up people with known truth: the embedded default data set, from nothing but code."""

from afnet_jax.scans.synthetic.people import Truth, make_scan
from afnet_jax.scans.synthetic.writing import write_people

__all__ = ["Truth", "make_scan", "write_people"]
