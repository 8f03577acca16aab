"""Raw scans: files of the databases <-> Scan."""

from afnet_jax.scans.databases import read_scan
from afnet_jax.scans.raw_folder import find_scans
from afnet_jax.scans.scan import EXPRESSIONS, Scan, ScanError, ScanId

__all__ = ["EXPRESSIONS", "Scan", "ScanError", "ScanId", "find_scans", "read_scan"]
