"""Mesh files of any origin: OBJ, PLY, glTF, STL -> Scan, with the names that a database's reader has."""

from afnet_jax.scans.meshes.named import named_files
from afnet_jax.scans.meshes.reader import FORMATS, SUFFIXES, read_scan, scan_id

__all__ = ["FORMATS", "SUFFIXES", "named_files", "read_scan", "scan_id"]
