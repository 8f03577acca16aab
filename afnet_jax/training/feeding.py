"""Scans on their way to the devices: a whole data set at once, or those of each call, read ahead.

K steps of a call, C trainings of it, B scans of a batch, N scans of the data set, D devices of a mesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from afnet_jax.datasets.reading_ahead import read_ahead
from afnet_jax.machine import usable_cores
from afnet_jax.maps import Faces

_AHEAD = 2  # calls whose scans are held ready
_BYTES_PER_CALL = 2**28  # of scans, where a call may take as many steps as it likes


class Read(NamedTuple):
    """Holds what one call takes.

    Attributes:
        mesh: number of the mesh that it runs on.
        indices: (C, B) or (K, C, B) scans of the data set.
    """

    mesh: int
    indices: np.ndarray


class Resident:
    """A data set that lies on every device.

    Attributes:
        spec: how the scans of a call are parted over a mesh.
        device_bytes: that it takes of each device.
    """

    spec = P()

    def __init__(self, faces: Faces, meshes: Sequence[Mesh]):
        self.device_bytes = sum(array.nbytes for array in jax.tree.leaves(faces))
        self._faces = [jax.device_put(faces, NamedSharding(mesh, self.spec)) for mesh in meshes]

    def feed(self, reads: Sequence[Read]) -> Iterator[tuple[Faces, jax.Array]]:
        """Yields the scans of each call, and each batch's indices into them."""
        return ((self._faces[read.mesh], jnp.asarray(read.indices)) for read in reads)

    def most_steps(self, scans: int) -> int | None:
        """Returns how many steps of so many scans one call may take; None for any number."""
        return None


class Streamed:
    """A data set that stays in memory or in files: each call is given its own scans, each of them once.

    The same scans, in the same order and of the same bits, enter a step as from a resident data set.

    Attributes:
        spec: how the scans of a call are parted over a mesh; each device has those of its own trainings.
        device_bytes: that it takes of each device, at most, where calls are as large as `most_steps` allows.
    """

    spec = P("folds")
    device_bytes = (_AHEAD + 2) * _BYTES_PER_CALL

    def __init__(self, faces: Faces, meshes: Sequence[Mesh]):
        self._faces = faces
        self._meshes = meshes

    def feed(self, reads: Sequence[Read]) -> Iterator[tuple[Faces, jax.Array]]:
        """Yields the scans of each call, and each batch's indices into them."""
        source = _Gathered(self._faces, self._meshes, reads)
        return read_ahead(source, threads=min(_AHEAD, usable_cores()), ahead=_AHEAD)

    def most_steps(self, scans: int) -> int | None:
        """Returns how many steps of so many scans one call may take."""
        of_a_scan = sum(array.nbytes // len(array) for array in jax.tree.leaves(self._faces))
        return max(1, _BYTES_PER_CALL // (scans * of_a_scan))


class _Gathered:
    """The scans of each call, gathered and put on its devices as they are asked for."""

    def __init__(self, faces: Faces, meshes: Sequence[Mesh], reads: Sequence[Read]):
        self._faces, self._meshes, self._reads = faces, meshes, reads

    def __len__(self) -> int:
        return len(self._reads)

    def __getitem__(self, index: int) -> tuple[Faces, jax.Array]:
        read = self._reads[index]
        mesh = self._meshes[read.mesh]
        scans, indices = [], []
        for part in np.split(read.indices, mesh.size, axis=-2):  # trainings of each device
            own, places = np.unique(part, return_inverse=True)  # scans that several batches share are read once
            # Filled up, so that every call has the same shapes.
            scans.append(np.resize(own, min(part.size, len(self._faces.labels))))
            indices.append(places.reshape(part.shape).astype(np.int32))
        faces = jax.tree.map(lambda column: column[np.concatenate(scans)], self._faces)
        return jax.device_put(faces, NamedSharding(mesh, Streamed.spec)), jnp.asarray(np.concatenate(indices, axis=-2))
