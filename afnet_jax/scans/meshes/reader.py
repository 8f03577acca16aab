"""A mesh file -> Scan: any of the usual formats, in any unit, turned any way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from afnet_jax.scans import images
from afnet_jax.scans.meshes import landmark_file
from afnet_jax.scans.meshes.cloud import center_of, meshed
from afnet_jax.scans.meshes.folder import picture_beside
from afnet_jax.scans.meshes.gltf import read_gltf
from afnet_jax.scans.meshes.obj import read_obj
from afnet_jax.scans.meshes.paint import painted
from afnet_jax.scans.meshes.ply import read_ply
from afnet_jax.scans.meshes.stl import read_stl
from afnet_jax.scans.meshes.surface import MeshError, Surface
from afnet_jax.scans.meshes.units import millimetres
from afnet_jax.scans.orientation import unrolled_share
from afnet_jax.scans.scan import Scan, ScanError, ScanId
from afnet_jax.scans.validity import validated

READERS: dict[str, Callable[[Path], Surface]] = {
    ".obj": read_obj,
    ".ply": read_ply,
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".stl": read_stl,
}
FORMATS = tuple(READERS)
# Of the files that make one scan; a picture or material of another stem is found by its name in the mesh.
SUFFIXES = (*FORMATS, ".mtl", ".bin", ".jpg", ".jpeg", ".png", ".bmp", *landmark_file.SUFFIXES)
COLOURLESS = "the mesh has no colours: only networks that see the depth alone can use it"
UNKNOWN = "?"  # expression of a scan whose name says none


def scan_id(path: Path, database: str = "mesh") -> ScanId:
    """Identity of a mesh file: its stem is the scan's name and the subject; it says no expression.

    Raises:
        ScanError: the file is none of the formats that are read.
    """
    if path.suffix.lower() not in READERS:
        raise ScanError(path, f"the name is none of a mesh; expected {', '.join(FORMATS)}")
    return ScanId(database, path.stem, UNKNOWN, None, None, path.stem)


def read_scan(path: str | Path, database: str = "mesh") -> Scan:
    """Reads a mesh or a point cloud with its colours, and landmarks where a file beside it holds them.

    Points keep the file's frame, whichever way it is turned, and become mm; remarks say what was found about the unit.
    Without landmarks (`landmarks` is {}) nothing tells which way the face looks, and triangles run as the file's do.

    Raises:
        ScanError: the file or one that belongs to it is missing, broken or not supported.
    """
    path = Path(path)
    identity = scan_id(path, database)
    landmarks, remarks = landmark_file.read_landmarks(path)
    try:
        surface = READERS[path.suffix.lower()](path)
        if not surface.parts:
            surface = meshed(surface)
        surface = _with_picture(path, _welded(_without_unused(surface)))
        factor, remark = millimetres(surface.points, landmarks)
        triangles = np.concatenate([part.triangles for part in surface.parts]).astype(np.int32)
        points = surface.points * factor
        uv, uv_triangles, texture = painted(surface, _edge(points, triangles))
        once = _once(triangles)
    except MeshError as error:
        raise ScanError(path, str(error)) from None
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise ScanError(path, f"a file that it names cannot be looked up ({error.strerror})") from None
    landmarks = {name: at * factor for name, at in landmarks.items()}
    remarks += surface.remarks + ((remark,) if remark else ())
    scan = Scan(
        identity,
        points,
        triangles[once],
        uv,
        uv_triangles[once],
        texture,
        landmarks,
        path=path,
        remarks=remarks,
        frontal=False,
        charted=any(part.picture is not None for part in surface.parts),
    )
    if not scan.coloured:
        scan = dataclasses.replace(scan, remarks=(*remarks, COLOURLESS))
    return validated(scan)


def _with_picture(path: Path, surface: Surface) -> Surface:
    """A mesh with texture points whose file names no picture takes the one beside it."""
    shaded = surface.colours is not None and bool((surface.colours != surface.colours[0]).any())
    if shaded or any(part.picture is not None for part in surface.parts):  # points all white are what programs fill in
        return surface
    if not any(part.uv_triangles is not None for part in surface.parts):
        return surface
    found = picture_beside(path, FORMATS)
    if found is None:
        return surface
    picture = images.read_rgb(found)
    parts = tuple(
        part if part.uv_triangles is None else dataclasses.replace(part, picture=picture) for part in surface.parts
    )
    which = "the one of the same name" if found.stem == path.stem else found.name
    remark = f"the mesh names no picture; {which}, which lies beside it, was taken"
    uv = surface.uv
    if _is_upside_down(surface):
        uv, remark = uv * (1, -1) + (0, 1), f"{remark}, with v from its bottom"
    return dataclasses.replace(surface, parts=parts, uv=uv, remarks=(*surface.remarks, remark))


def _is_upside_down(surface: Surface) -> bool:
    """Whether the picture, laid on as the format says, would be mirrored: programs differ in where v begins."""
    parts = [(part.triangles, part.uv_triangles) for part in surface.parts if part.uv_triangles is not None]
    triangles, uv_triangles = (np.concatenate(each) for each in zip(*parts, strict=True))
    share = unrolled_share(surface.points, triangles, surface.uv, uv_triangles)
    a, b, c = np.moveaxis(surface.points[triangles] - center_of(surface.points), 1, 0)
    runs_inward = np.einsum("ij,ij->", np.cross(a, b), c) < 0  # the volume within: triangles run clockwise
    return (1 - share if runs_inward else share) > 0.75


def _without_unused(surface: Surface) -> Surface:
    """Leaves out points that no triangle names: they may lie anywhere, and tell nothing of the surface."""
    used = np.zeros(len(surface.points), dtype=bool)
    for part in surface.parts:
        used[part.triangles] = True
    if not np.isfinite(surface.points[used]).all():
        count = int((~np.isfinite(surface.points[used]).all(axis=1)).sum())
        raise MeshError(f"{count} of its points have a coordinate that is no number; repair the mesh")
    index = np.cumsum(used) - 1
    parts = tuple(dataclasses.replace(part, triangles=index[part.triangles]) for part in surface.parts)
    if not any(len(part.triangles) for part in parts):
        raise MeshError("the mesh has no triangle")
    colours = None if surface.colours is None else surface.colours[used]
    return dataclasses.replace(surface, points=surface.points[used], parts=parts, colours=colours)


def _welded(surface: Surface) -> Surface:
    """Makes one point of those at the very same place, which many programs write anew for each triangle or chart."""
    points, first, index = np.unique(surface.points, axis=0, return_index=True, return_inverse=True)
    if len(points) == len(surface.points):
        return surface
    index = index.ravel()
    parts = tuple(dataclasses.replace(part, triangles=index[part.triangles]) for part in surface.parts)
    colours = None if surface.colours is None else surface.colours[first]
    return dataclasses.replace(surface, points=points, parts=parts, colours=colours)


def _once(triangles: np.ndarray) -> np.ndarray:
    """(T,) bool: the first of those that name the same three points; double-sided meshes hold each both ways round."""
    corners = np.sort(triangles, axis=1)
    order = np.lexsort(corners.T)
    first = np.append(True, (np.diff(corners[order], axis=0) != 0).any(axis=1))
    once = np.empty(len(triangles), bool)
    once[order] = first
    return once


def _edge(points: np.ndarray, triangles: np.ndarray) -> float:
    """Median length of the triangles' first edges, mm."""
    return float(np.median(np.linalg.norm(points[triangles[:, 1]] - points[triangles[:, 0]], axis=1)))
