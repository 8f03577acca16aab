"""Draco-compressed meshes of glTF files (KHR_draco_mesh_compression), decoded by DracoPy where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from afnet_jax.scans.meshes.surface import MeshError


def decoded(data: bytes, ids: dict[str, int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Decodes one mesh.

    Args:
        data: the compressed bytes.
        ids: glTF's name of each attribute -> Draco's id.

    Returns:
        (count, width) arrays by glTF's names, and (3 T,) corners of the triangles.

    Raises:
        MeshError: damaged bytes, or DracoPy is not installed.
    """
    try:
        import DracoPy
    except ImportError:
        raise MeshError("its mesh is compressed by Draco: pip install 'afnet_jax[draco]', or export without") from None
    try:
        mesh: Any = DracoPy.decode(data)
        faces = np.asarray(mesh.faces, np.int64).reshape(-1)
        by_id = {each["unique_id"]: np.asarray(each["data"]) for each in mesh.attributes}
        attributes = {name: by_id[key] for name, key in ids.items()}
    except Exception as error:  # the decoder's own errors
        raise MeshError(f"its Draco data cannot be decoded ({' '.join(str(error).split())[:80]})") from None
    return {name: each if each.ndim == 2 else each[:, None] for name, each in attributes.items()}, faces
