"""Draws where each landmark's name lies, on an average synthetic face: the picture of docs/landmarks.md.

python -m benchmarks.landmark_names --out=docs/landmarks.png
"""

from __future__ import annotations

import argparse
import dataclasses

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.spatial.transform import Rotation

from afnet_jax.geometry.alignment import align, to_canonical
from afnet_jax.geometry.rendering import Grid, rasterize
from afnet_jax.landmarks.subjects import landmark_places
from afnet_jax.quality.thumbnails import relief
from afnet_jax.scans.scan import LANDMARKS
from afnet_jax.synthetic import template
from afnet_jax.synthetic.expression import UNITS, Activation
from afnet_jax.synthetic.head import shape_head
from afnet_jax.synthetic.identity import draw_person, resting_skin

_GRID = Grid(520, 0.4, (-104.0, 60.0))
_SIDE = 60.0  # degrees that the second picture shows the face turned by
_LABELS = 112.0  # mm from the middle at which names stand


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="picture to write (.png)")
    points, landmarks = _average_face()
    _drawn(points, landmarks).savefig(parser.parse_args().out, dpi=90)


def _average_face() -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) and (22, 3) canonical mm of a resting face without any peculiarity."""
    person = draw_person(0, 0)
    person = dataclasses.replace(person, shape=dict.fromkeys(person.shape, 0.0))
    parted = np.where(np.equal(UNITS, 25), 0.3, 0.0)  # lips a little apart, so that their inner rims are told apart
    head = shape_head(person, resting_skin(person), Activation(parted, parted), (0.0, 0.0))
    landmarks = template.interpolate(head.points, landmark_places())
    to_head = align(dict(zip(LANDMARKS, landmarks, strict=True)))
    return to_canonical(head.points.reshape(-1, 3), to_head), to_canonical(landmarks, to_head)


def _drawn(points: np.ndarray, landmarks: np.ndarray) -> Figure:
    side = Rotation.from_euler("y", _SIDE, degrees=True).as_matrix()
    with matplotlib.rc_context({"font.size": 10}):
        figure = Figure(figsize=(11.5, 4.9), layout="constrained")
        front, turned = figure.subplots(1, 2, width_ratios=(1.75, 1))
        _show(front, points, landmarks)
        _show(turned, points @ side.T, landmarks @ side.T)
        turned.set_xlim(-70, 80)
        front.set_title("from the front")
        turned.set_title(f"turned by {_SIDE:.0f}°")
        _name(front, landmarks)
        return figure


def _show(axes, points: np.ndarray, landmarks: np.ndarray) -> None:
    raster = rasterize(points, template.triangles(), _GRID)
    picture = np.where(raster.seen[..., None], relief(raster.depth / _GRID.step), 255)
    row, col = (np.rint(at).astype(int) for at in _GRID.to_pixels(landmarks))
    seen = landmarks[landmarks[:, 2] > np.nan_to_num(raster.depth, nan=-np.inf)[row, col] - 3.0]
    half = _GRID.step / 2
    axes.imshow(picture, extent=(_GRID.x[0] - half, _GRID.x[-1] + half, _GRID.y[-1] - half, _GRID.y[0] + half))
    axes.plot(seen[:, 0], seen[:, 1], "o", ms=5, mfc="#ffe040", mec="black", mew=0.8)
    axes.set(xticks=[], yticks=[], frame_on=False, ylim=(-138, 60))


def _name(axes, landmarks: np.ndarray) -> None:
    """Writes a number at each place, and the numbers' names beside the face, those of the middle on alternate sides."""
    side = {name: np.sign(round(at[0])) for name, at in zip(LANDMARKS, landmarks, strict=True)}
    middle = sorted(
        (name for name in LANDMARKS if side[name] == 0), key=lambda name: -landmarks[LANDMARKS.index(name), 1]
    )
    side |= {name: (-1) ** k for k, name in enumerate(middle)}
    axes.set_xlim(-190, 190)
    for sign in (-1, 1):
        names = [name for name in LANDMARKS if side[name] == sign]
        heights = np.linspace(50, -125, len(names))
        for name, height in zip(names, heights, strict=True):
            number = LANDMARKS.index(name) + 1
            x, y, _ = landmarks[number - 1]
            axes.text(sign * _LABELS, height, f"{number}  {name}", ha="left" if sign > 0 else "right", va="center")
            axes.text(
                x + sign * 2.5, y + 2.5, str(number), ha="left" if sign > 0 else "right", va="bottom",
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )  # fmt: skip


if __name__ == "__main__":
    main()
