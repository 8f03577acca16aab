"""The numbers of a glTF file: buffers, views into them, and accessors that say how to read a view (glTF 2.0, 3.6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from afnet_jax.scans.meshes.surface import MAX_POINTS, MAX_TRIANGLES, MeshError

_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_MOST = max(MAX_POINTS, 3 * MAX_TRIANGLES)


class Arrays:
    """Reads accessors of one file.

    Args:
        content: the file's JSON.
        buffers: the bytes of its buffers.
    """

    def __init__(self, content: dict[str, Any], buffers: list[bytes]):
        self._views, self._accessors = content.get("bufferViews", []), content.get("accessors", [])
        self._buffers = buffers

    def view(self, index: int) -> bytes:
        """The bytes of a buffer view."""
        view = self._views[_whole(index)]
        start, size = _whole(view.get("byteOffset", 0)), _whole(view["byteLength"])
        data = self._buffers[_whole(view["buffer"])]
        if start + size > len(data):
            raise MeshError(f"it reads {start + size:,} bytes of a buffer of {len(data):,}; copy the files again")
        return data[start : start + size]

    def read(self, index: int) -> np.ndarray:
        """(count, width) numbers of an accessor; normalized integers become floats from 0 (or -1) to 1."""
        accessor = self._accessors[_whole(index)]
        dtype, width = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        count = _whole(accessor["count"])
        if not 0 < count <= _MOST:
            raise MeshError(f"an array of {count:,} items, expected 1 to {_MOST:,}")
        if "bufferView" in accessor:
            values = self._strided(accessor["bufferView"], _whole(accessor.get("byteOffset", 0)), count, width, dtype)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            values = self._with_sparse(values, accessor["sparse"])
        if accessor.get("normalized") and dtype.kind in "iu":
            values = np.maximum(values / np.float32(np.iinfo(dtype).max), -1).astype(np.float32)
        return values

    def _strided(self, view: int, offset: int, count: int, width: int, dtype: np.dtype) -> np.ndarray:
        data = self.view(view)
        row = width * dtype.itemsize
        stride = _whole(self._views[view].get("byteStride", 0)) or row
        if stride < row or offset + (count - 1) * stride + row > len(data):
            raise MeshError(f"an array of {count:,} items does not fit into its {len(data):,} bytes")
        rows = np.lib.stride_tricks.as_strided(np.frombuffer(data, np.uint8)[offset:], (count, row), (stride, 1))
        return np.ascontiguousarray(rows).view(dtype).reshape(count, width)

    def _with_sparse(self, values: np.ndarray, sparse: dict[str, Any]) -> np.ndarray:
        """Some items replaced (glTF 2.0, 3.6.2.3)."""
        count, where, what = _whole(sparse["count"]), sparse["indices"], sparse["values"]
        if not 0 < count <= len(values):
            raise MeshError(f"{count:,} items replace some of {len(values):,}")
        kind = np.dtype(_TYPES[where["componentType"]])
        places = self._strided(where["bufferView"], _whole(where.get("byteOffset", 0)), count, 1, kind)[:, 0]
        values = values.copy()
        values[places.astype(np.int64)] = self._strided(
            what["bufferView"], _whole(what.get("byteOffset", 0)), count, values.shape[1], values.dtype
        )
        return values


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise MeshError(f"its glTF holds {value!r:.40}, expected a whole number")
    return value
