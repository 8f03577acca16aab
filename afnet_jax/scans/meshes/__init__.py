"""Mesh files of any origin: OBJ, PLY, glTF, STL -> Scan, with the three names that a database's reader has."""

from afnet_jax.scans.meshes.reader import FORMATS, SUFFIXES, read_scan, scan_id

__all__ = ["FORMATS", "SUFFIXES", "read_scan", "scan_id"]
