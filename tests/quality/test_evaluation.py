"""Figures of merit on cases whose figures are known."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial

from afnet_jax.errors import AFNetError
from afnet_jax.preprocessing import preprocess
from afnet_jax.quality.evaluation import evaluate, ssim
from afnet_jax.quality.truth import Truth, read_truth

TOOL = Path(__file__).parents[2] / "tools" / "measure_preprocessing.py"


@pytest.fixture(scope="module")
def known(face):
    """A scan, its maps and its truth."""
    scan = face.scan(1.2)
    x, y = np.meshgrid(np.arange(-65.0, 66), np.arange(-110.0, 61))
    depth = np.where((x / 70) ** 2 + ((y + 25) / 90) ** 2 < 0.9, face.height(x, y), np.nan)
    rgb = np.full((*x.shape, 3), 128, np.uint8)
    return scan, preprocess(scan), Truth(depth, rgb, -65.0, -110.0, np.eye(3))


def test_a_perfect_scan_has_next_to_no_error(known):
    figures = evaluate(*known)
    assert figures["inner_rmse"] < 0.1 and figures["whole_rmse"] < 0.2
    assert figures["ssim"] > 0.99 and figures["covered"] > 0.98 and figures["good_kept"] == 1
    assert np.isnan(figures["spikes_removed"]) and np.isnan(figures["hole_rmse"])


def test_an_offset_of_the_truth_is_the_error(known):
    scan, maps, truth = known
    lower = Truth(truth.depth - 1.0, truth.rgb, truth.x0, truth.y0, truth.rotation)
    figures = evaluate(scan, maps, lower)
    assert figures["inner_rmse"] == pytest.approx(1.0, abs=0.05)
    assert figures["inner_median"] == pytest.approx(1.0, abs=0.05)


def test_ssim_of_the_same_and_of_another_picture():
    rng = np.random.default_rng(0)
    picture, where = rng.uniform(0, 255, (40, 40, 3)), np.ones((40, 40), dtype=bool)
    where[:10] = False
    garbage = picture.copy()
    garbage[:10] = np.nan
    assert ssim(garbage, picture, where) == pytest.approx(1.0)
    assert ssim(rng.uniform(0, 255, (40, 40, 3)), picture, where) < 0.1
    assert np.isnan(ssim(picture, picture, np.zeros_like(where)))


def test_says_what_is_wrong_with_a_truth(tmp_path):
    with pytest.raises(AFNetError, match="no truth beside the scan"):
        read_truth(tmp_path / "none_truth.npz")
    np.savez(tmp_path / "odd_truth.npz", depth=np.zeros((2, 2)))
    with pytest.raises(AFNetError, match="expected a truth"):
        read_truth(tmp_path / "odd_truth.npz")


def run_tool(*arguments):
    return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, timeout=600, check=False)


def test_the_tool_measures_a_folder(samples, tmp_path):
    done = run_tool(f"--raw={samples / 'bu3dfe_clean'}", f"--json={tmp_path / 'figures.json'}")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["scans"] == len(list(samples.glob("bu3dfe_clean/*/*.wrl"))) and not report["rejected"]
    assert report["summary"]["inner_rmse"]["worst"] < 0.25


READER = """
import numpy as np
from afnet_jax.scans.scan import EXPRESSION_CODES, Scan, ScanError, ScanId

SUFFIXES = (".npz",)

def scan_id(path, database="own"):
    if path.suffix != ".npz":
        raise ScanError(path, "no .npz")
    return ScanId(database, "anna", "HA", None, None, path.stem)

def read_scan(path, database="own"):
    held = np.load(path)
    landmarks = {name: held[name] for name in held["names"]}
    parts = (held[key] for key in ("points", "triangles", "uv", "triangles", "texture"))
    return Scan(scan_id(path), *parts, landmarks, path=path)
"""


def test_the_tool_holds_scans_of_ones_own_to_their_mesh(face, tmp_path):
    scan = face.scan(2.0)
    (tmp_path / "reader.py").write_text(READER)
    held = {"points": scan.points, "triangles": scan.triangles, "uv": scan.uv, "texture": scan.texture}
    np.savez(tmp_path / "anna.npz", names=list(scan.landmarks), **held, **scan.landmarks)
    options = (f"--raw={tmp_path}", f"--reader={tmp_path / 'reader.py'}", f"--json={tmp_path / 'figures.json'}")
    done = run_tool(*options)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())["per_scan"]["anna.npz"]
    assert figures["inner_rmse"] < 0.1 and figures["inner_lost"] == 0


def test_inner_lost_is_the_share_of_the_mesh_that_cleaning_drops(known):
    scan, maps, truth = known
    middle = scan.points[scan.triangles].mean(axis=1)
    bit = np.abs(middle[:, :2] - (30, -35)).max(axis=1) < 2.5  # of 5 × 5 mm, lifted off: an isolated bit
    own = np.unique(scan.triangles[bit])
    points = np.vstack([scan.points, scan.points[own] + (0, 0, 25)])
    triangles = scan.triangles.copy()
    triangles[bit] = len(scan.points) + np.searchsorted(own, scan.triangles[bit])
    hull = scipy.spatial.ConvexHull(np.stack(list(scan.landmarks.values()))[:, :2])
    inner = hull.volume + 20 * hull.area + np.pi * 20**2  # mm²: a convex region grown by 20 mm (Steiner)
    lost = evaluate(dataclasses.replace(scan, points=points, triangles=triangles), maps, truth)["inner_lost"]
    assert lost == pytest.approx(25 / inner, rel=0.35)
    assert evaluate(*known)["inner_lost"] == 0


def test_the_tool_tells_faults_from_wrong_arguments(tmp_path):
    nothing = run_tool(f"--raw={tmp_path}")
    assert nothing.returncode == 1 and "found no scans" in nothing.stderr and "Traceback" not in nothing.stderr
    assert run_tool("--row=x").returncode == 2
