"""Draws the pictures of README.md anew: a face on its way into the network, the network, the report of a run.

    python -m benchmarks.pictures --workdir=runs/synthetic --browser=chromium

The face is a synthetic subject whom the run has not seen. The report is photographed by a browser of the Chromium
family, light and dark; without --browser that picture is left as it is.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
import matplotlib.font_manager
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from afnet_jax.analysis.figures import mean_heat, overlay, surface
from afnet_jax.analysis.run import Run, load_run
from afnet_jax.commands.command_line import command_parser, report_faults
from afnet_jax.datasets.records import drawn_maps
from afnet_jax.datasets.reduction import reduce_maps, stack
from afnet_jax.geometry.alignment import to_canonical
from afnet_jax.geometry.rendering import Grid, rasterize
from afnet_jax.paths import user_path
from afnet_jax.preprocessing import preprocess
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.quality.thumbnails import relief
from afnet_jax.scans.scan import EXPRESSION_CODES, Scan
from afnet_jax.synthetic import make_scan
from benchmarks.network_figure import DARK, LIGHT, network_figure

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
_EDGE, _GAP, _CAPTION = 176, 10, 26  # pixels of the strip: a picture's edge, between two, the line below
_GREY = (124, 132, 141, 255)  # of captions: legible on white and on black
_YAW = 38.0  # degrees that the surface is turned by, to be seen from the side
_WINDOW = (1280, 900)  # pixels of the report that are photographed
_REPORT_WIDTH = 860  # pixels that the photograph is reduced to


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--subject", type=int, default=2, metavar="N", help="which synthetic subject, of seed 1")
    parser.add_argument("--expression", choices=EXPRESSION_CODES, default="HA", help="that the face shows")
    parser.add_argument("--browser", metavar="FILE", help="program that photographs the report, such as chromium")
    given = parser.parse_args()

    def draw() -> None:
        run = load_run(given.workdir)
        FOLDER.mkdir(exist_ok=True)
        scan = make_scan(given.subject, given.expression, 4, database="bu3dfe", seed=1)[0]
        face_strip(run, scan, EXPRESSION_CODES.index(given.expression)).save(FOLDER / "face.webp", quality=88, method=6)
        for name, theme in (("light", LIGHT), ("dark", DARK)):
            (FOLDER / f"network-{name}.svg").write_text(network_figure(theme), encoding="utf-8")
            if given.browser:
                photograph(given.browser, run.path / "report.html", FOLDER / f"report-{name}.webp", dark=name == "dark")
        for path in sorted(FOLDER.iterdir()):
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

    return report_faults(draw)


def face_strip(run: Run, scan: Scan, label: int) -> Image.Image:
    """Returns surface, texture, depth, both masks and the heat of both trunks side by side, on a clear ground."""
    maps = preprocess(scan)
    size = run.config.dataset.image_size
    small = stack([reduce_maps(drawn_maps(maps), maps.mm_per_pixel, size, run.config.model.modalities)])
    heat = {trunk: _enlarged(warm[0]) for trunk, warm in mean_heat(run, small, [label]).items()}
    lit = surface(np.where(maps.valid, maps.depth, np.nan))
    seen = {
        "texture": maps.texture,
        "depth": _coloured(maps.depth, maps.valid),
        "mask-1, 56×56": _masked(lit, maps.masks[56]),
        "mask-2, 28×28": _masked(lit, maps.masks[28]),
        "Grad-CAM, texture": overlay(maps.texture, heat["texture"]),
        "Grad-CAM, depth": overlay(lit, heat["depth"]),
    }
    square = _square_around(maps.valid)
    pictures = {"scan": _seen_from_the_side(scan, maps)}
    pictures |= {caption: _cut(image, maps.valid).crop(square) for caption, image in seen.items()}
    strip = Image.new("RGBA", (len(pictures) * (_EDGE + _GAP) - _GAP, _EDGE + _CAPTION))
    font = ImageFont.truetype(matplotlib.font_manager.findfont("DejaVu Sans"), 14)
    for place, (caption, picture) in enumerate(pictures.items()):
        left = place * (_EDGE + _GAP)
        strip.paste(picture.resize((_EDGE, _EDGE), Image.Resampling.LANCZOS), (left, 0))
        at = (left + _EDGE / 2, _EDGE + _CAPTION / 2 + 2)
        ImageDraw.Draw(strip).text(at, caption, fill=_GREY, font=font, anchor="mm")
    return strip


def photograph(browser: str, page: Path, out: Path, *, dark: bool) -> None:
    """Writes what a browser shows of a page's beginning."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        scheme = "--blink-settings=preferredColorScheme=" + ("0" if dark else "1")
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", scheme, f"--user-data-dir={folder}/profile"]
        command = [user_path(browser), *options, f"--window-size={_WINDOW[0]},{_WINDOW[1]}", f"--screenshot={shot}"]
        subprocess.run([*map(str, command), page.resolve().as_uri()], check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            height = round(image.height * _REPORT_WIDTH / image.width)
            image.convert("RGB").resize((_REPORT_WIDTH, height), Image.Resampling.LANCZOS).save(
                out, quality=80, method=6
            )


def _seen_from_the_side(scan: Scan, maps: FaceMaps) -> Image.Image:
    """The raw mesh, lit from the upper left."""
    points, angle = to_canonical(scan.points, maps.to_scan), np.radians(_YAW)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    points = (points - points.mean(0)) @ turn.T
    extent = 1.04 * (points[:, :2].max(0) - points[:, :2].min(0)).max()
    middle = (points[:, :2].max(0) + points[:, :2].min(0)) / 2
    size = 2 * _EDGE
    grid = Grid(size, extent / size, (middle[0] - extent / 2, middle[1] + extent / 2))
    raster = rasterize(points, scan.triangles, grid)
    return _cut(relief(raster.depth / grid.step), raster.seen)


def _coloured(depth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Heights as colours, the nearest the brightest, (S, S, 3) uint8."""
    low, high = np.percentile(depth[valid], (2, 99.5))
    return (255 * matplotlib.colormaps["viridis"](np.clip((depth - low) / (high - low), 0, 1))[..., :3]).astype(
        np.uint8
    )


def _masked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(S, S, 3) image, dark where the mask is 0; the mask's own pixels can be told apart."""
    times = len(image) // len(mask)
    return (image * (0.2 + 0.8 * np.kron(mask, np.ones((times, times))))[..., None]).astype(np.uint8)


def _square_around(where: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the smallest square that holds all of a condition, with a small rim."""
    rows, cols = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    half = max(rows[-1] - rows[0], cols[-1] - cols[0]) // 2 + 3
    row, col = (rows[0] + rows[-1]) // 2, (cols[0] + cols[-1]) // 2
    return (col - half, row - half, col + half, row + half)


def _enlarged(heat: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(heat.astype(np.float32)).resize((224, 224), Image.Resampling.BICUBIC)).clip(0, 1)


def _cut(image: np.ndarray, where: np.ndarray) -> Image.Image:
    """An image that is clear where a condition does not hold."""
    return Image.fromarray(np.dstack([image, np.where(where, 255, 0).astype(np.uint8)]))


if __name__ == "__main__":
    sys.exit(main())
