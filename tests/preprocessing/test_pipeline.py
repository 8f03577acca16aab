"""The whole way from a scan to its maps, on faces whose truth is known."""

import dataclasses
import warnings

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from afnet_jax.preprocessing import PreprocessingConfig, preprocess
from afnet_jax.preprocessing.pipeline import face_region, pose_points
from afnet_jax.quality.evaluation import evaluate
from afnet_jax.quality.pose_agreement import pose_agreement, scanned_again
from afnet_jax.quality.truth import read_truth, truth_path
from afnet_jax.scans import ScanError, read_scan
from afnet_jax.scans.range_grid import grid_triangles
from tests.support.samples import samples_are_given
from tests.support.smooth_face import moved


@pytest.fixture(scope="module")
def maps(face):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return preprocess(face.scan())


def pixels(maps):
    """(224, 224, 3) canonical mm of every pixel."""
    x = maps.origin[0] + maps.mm_per_pixel * np.arange(224)
    y = maps.origin[1] - maps.mm_per_pixel * np.arange(224)
    return np.dstack([*np.meshgrid(x, y), maps.depth.astype(float)])


def test_keeps_the_contract(maps):
    assert maps.texture.shape == (224, 224, 3) and maps.texture.dtype == np.uint8
    assert maps.depth.shape == (224, 224) and maps.depth.dtype == np.float32
    assert maps.valid.shape == (224, 224) and maps.valid.dtype == bool
    assert maps.seen.dtype == bool and not (maps.seen & ~maps.valid).any()
    assert {size: mask.shape for size, mask in maps.masks.items()} == {56: (56, 56), 28: (28, 28)}
    np.testing.assert_array_equal(np.isfinite(maps.depth), maps.valid)
    assert (maps.texture[~maps.valid] == 0).all() and (maps.texture[maps.valid] > 0).all()
    np.testing.assert_allclose(maps.to_scan[:3, :3] @ maps.to_scan[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.nanmin(maps.depth) > -70 and np.nanmax(maps.depth) < 50
    assert maps.quality["landmarks"] == "given"
    assert all(np.isfinite(value) for name, value in maps.quality.items() if name != "landmarks")


def test_depth_is_the_surface(maps, face):
    at = pixels(maps)[maps.valid] @ maps.to_scan[:3, :3].T + maps.to_scan[:3, 3]
    error = at[:, 2] - face.height(at[:, 0], at[:, 1])
    assert np.sqrt(np.mean(error**2)) < 0.1


def test_nothing_beyond_the_scan_is_invented(maps, face):
    at = pixels(maps)[maps.valid]
    outside = (at[:, 0] / face.half_width) ** 2 + ((at[:, 1] - face.middle) / face.half_height) ** 2
    assert outside.max() < 1.05


def test_row_0_is_the_forehead_and_column_0_the_subjects_right(maps):
    rows, cols = {}, {}
    for name, at in maps.landmarks.items():
        rows[name], cols[name] = (maps.origin[1] - at[1]) / maps.mm_per_pixel, (at[0] - maps.origin[0])
    assert rows["left_brow_middle"] < rows["nose_tip"] < rows["chin"]
    assert cols["right_eye_outer"] < cols["left_eye_outer"]


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("degrees", [-20, 20])
def test_undoes_the_pose(face, maps, axis, degrees):
    rotation = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    other = preprocess(moved(face.scan(), rotation, (8.0, -30.0, 100.0)))
    both = maps.valid & other.valid
    assert both.sum() > 0.9 * maps.valid.sum()
    assert np.sqrt(np.mean((maps.depth - other.depth)[both] ** 2)) < 0.1
    np.testing.assert_allclose(other.to_scan[:3, :3], rotation @ maps.to_scan[:3, :3], atol=0.01)


def test_fills_a_hole_and_leaves_a_notch(face, maps):
    scan = face.scan()
    middle = scan.points[scan.triangles].mean(axis=1)
    hole, notch = np.hypot(middle[:, 0] - 20, middle[:, 1] + 50) < 9, np.hypot(middle[:, 0] - 60, middle[:, 1]) < 12
    keep = ~(hole | notch)
    cut = preprocess(dataclasses.replace(scan, triangles=scan.triangles[keep], uv_triangles=scan.uv_triangles[keep]))
    place = pixels(maps)
    in_hole = np.hypot(place[..., 0] - 20, place[..., 1] + 50) < 8
    in_notch = np.hypot(place[..., 0] - 62, place[..., 1]) < 6
    assert cut.valid[in_hole].all() and not cut.valid[in_notch].any()
    assert np.sqrt(np.mean((cut.depth - maps.depth)[in_hole] ** 2)) < 0.5
    assert cut.quality["filled"] > 0.01


def test_spikes_leave_no_trace(face, maps):
    scan, rng = face.scan(), np.random.default_rng(0)
    points = scan.points.copy()
    points[rng.choice(len(points), 50, replace=False), 2] += rng.uniform(10, 40, 50)
    spiky = preprocess(dataclasses.replace(scan, points=points))
    both = maps.valid & spiky.valid
    assert np.abs(spiky.depth - maps.depth)[both].max() < 1.0


def test_smooths_noise_by_as_much_as_there_is(face, maps):
    scan, rng = face.scan(), np.random.default_rng(0)
    noisy = preprocess(dataclasses.replace(scan, points=scan.points + rng.normal(0, 0.4, scan.points.shape)))
    flat = np.hypot(pixels(maps)[..., 0], pixels(maps)[..., 1] + 25) < 50  # at the steep rim, noise in x is noise in z
    assert np.sqrt(np.mean((noisy.depth - maps.depth)[flat] ** 2)) < 0.25
    assert noisy.quality["noise"] == pytest.approx(0.4, rel=0.3) and maps.quality["noise"] < 0.1


def test_finds_the_nose_tip_where_none_is_given(face, maps):
    scan = face.scan()
    given = {name: at for name, at in scan.landmarks.items() if name != "nose_tip"}
    found = preprocess(dataclasses.replace(scan, landmarks=given)).landmarks["nose_tip"]
    assert np.linalg.norm(found - maps.landmarks["nose_tip"]) < 6  # the template's tip is not the foremost place
    assert found[2] > maps.landmarks["nose_tip"][2] - 1


def test_is_the_same_each_time(face, maps):
    again = preprocess(face.scan())
    np.testing.assert_array_equal(again.depth, maps.depth)
    np.testing.assert_array_equal(again.texture, maps.texture)


def test_face_region_takes_the_largest_part_with_its_holes():
    seen = np.zeros((50, 50), dtype=bool)
    seen[5:35, 5:35], seen[10:20, 10:20], seen[45:48, 45:48] = True, False, True
    region = face_region(seen)
    assert region[12, 12] and not region[46, 46] and region.sum() == 900


def shifted_landmarks(scan):
    nearer = np.array([0, 0, 60])
    return dataclasses.replace(scan, landmarks={name: at + nearer for name, at in scan.landmarks.items()})


def without_surface(scan):
    nothing = np.zeros((0, 3))
    return dataclasses.replace(scan, points=nothing, triangles=nothing.astype(int), uv_triangles=nothing.astype(int))


def in_metres(scan):
    landmarks = {name: at / 1000 for name, at in scan.landmarks.items()}
    return dataclasses.replace(scan, points=scan.points / 1000, landmarks=landmarks)


def a_patch(scan):
    near = np.hypot(*(scan.points[scan.triangles].mean(axis=1)[:, :2] - (0, -28)).T) < 25
    landmarks = {name: at for name, at in scan.landmarks.items() if "nose" in name or "eye_inner" in name}
    return dataclasses.replace(
        scan, triangles=scan.triangles[near], uv_triangles=scan.uv_triangles[near], landmarks=landmarks
    )


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (shifted_landmarks, "landmarks lie more than 10 mm off the surface"),
        (without_surface, "only background"),
        (in_metres, "look like metres"),
        (a_patch, "the face fills"),
        (lambda scan: dataclasses.replace(scan, triangles=scan.triangles[:5]), "no surface is left"),
    ],
)
def test_says_why_a_scan_is_of_no_use(face, spoil, reason):
    with pytest.raises(ScanError, match=f"F0001_HA04WH.*{reason}"):
        preprocess(spoil(face.scan()))


SAMPLES = [
    ("bosphorus/*/*_E_ANGER_0.bnt", 0.45),
    ("bu3dfe/*/*_SU04??_F3D.wrl", 0.45),
    ("bosphorus_clean/*/*_E_SURPRISE_0.bnt", 0.25),
    ("bu3dfe_clean/*/*_HA04??_F3D.wrl", 0.25),
]


@pytest.mark.parametrize(("name", "most"), SAMPLES)
def test_synthetic_subjects_come_out_as_they_are(samples, name, most):
    path = sorted(samples.glob(name))[0]
    scan = read_scan(path)
    figures = evaluate(scan, preprocess(scan), read_truth(truth_path(path)))
    assert figures["inner_rmse"] < most
    # Holes at the open mouth of the generator's BU-3DFE faces are the hardest: 0.7 to 2.15 mm over six populations.
    assert not figures["hole_rmse"] > (1.5 if samples_are_given() or "bosphorus" in name else 2.5)
    assert figures["ssim"] > 0.9
    assert figures["good_kept"] > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", [SAMPLES[2][0], SAMPLES[3][0]])
def test_synthetic_subjects_scanned_again_in_another_pose_keep_their_shape(samples, name):
    agreement = pose_agreement(read_scan(sorted(samples.glob(name))[0]))
    assert set(agreement) == {f"{axis}{sign}20" for axis in ("pitch", "yaw", "roll") for sign in "-+"}
    # Among the generator's own faces, the open mouth of subject 0 in a range grid is the worst: 0.625 mm.
    assert max(agreement.values()) < (0.6 if samples_are_given() else 0.65)


def test_what_a_pose_hides_counts_as_unseen(samples):
    scan = read_scan(sorted(samples.glob("bosphorus_clean/*/*_N_N_0.bnt"))[0])
    to_its_left = Rotation.from_euler("y", 30, degrees=True).as_matrix()  # the nose then hides the left cheek
    maps = preprocess(scanned_again(scan, to_its_left, noise=0.0, seed=0))
    x, y = pixels(maps)[..., 0], pixels(maps)[..., 1]
    hidden = maps.valid & ~maps.seen & (np.abs(y + 25) < 15)
    assert (hidden & (x > 0)).sum() > 10 * (hidden & (x < 0)).sum()


def test_the_grid_holds_a_large_face():
    grid = PreprocessingConfig().grid
    assert grid.y[0] > 85 and grid.y[-1] < -140 and grid.x[-1] > 100  # hairline, chin of a wide open mouth, ears


def at_one_place(scan):
    middle = np.mean([at for name, at in scan.landmarks.items() if "mouth" in name], axis=0)
    middle = scan.points[np.linalg.norm(scan.points - middle, axis=1).argmin()]
    return {name: middle if "mouth" in name or "lip" in name else at for name, at in scan.landmarks.items()}


@pytest.mark.parametrize("way", [preprocess, pose_points])
def test_a_region_whose_landmarks_lie_at_one_place_is_told(face, way):
    scan = face.scan()
    with pytest.raises(ScanError, match="lie at one place or on one line"):
        way(dataclasses.replace(scan, landmarks=at_one_place(scan)))


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_triangles_without_a_place_in_the_picture_are_no_fault(face, share):
    scan = face.scan()
    uv_triangles = scan.uv_triangles.copy()
    uv_triangles[: int(share * len(uv_triangles))] = 0
    maps = preprocess(dataclasses.replace(scan, uv_triangles=uv_triangles))
    assert maps.texture.shape == (224, 224, 3)


@pytest.mark.parametrize("shape", [(1024, 2), (2, 1024), (2, 2)])
def test_the_narrowest_pictures_are_looked_up(face, shape):
    scan = face.scan()
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert preprocess(dataclasses.replace(scan, texture=picture)).texture.any()


def test_background_is_no_face(face):
    """A wall 25 cm behind the eyes, as a depth camera sees it."""
    scan, alone = face.scan(), preprocess(face.scan())
    x, y = np.meshgrid(*2 * [np.linspace(-300, 300, 121)])
    wall = np.stack([x, y, np.full_like(x, -250)], axis=-1).reshape(-1, 3)
    triangles = grid_triangles(np.arange(x.size, dtype=np.int32).reshape(x.shape)) + len(scan.points)
    triangles = np.vstack([scan.triangles, triangles]).astype(np.int32)
    uv = np.vstack([scan.uv, np.full((len(wall), 2), 0.5, np.float32)])
    points = np.vstack([scan.points, wall])
    maps = preprocess(dataclasses.replace(scan, points=points, triangles=triangles, uv=uv, uv_triangles=triangles))
    np.testing.assert_array_equal(maps.valid, alone.valid)
    assert np.abs(maps.depth - alone.depth)[alone.valid].max() < 0.1


@pytest.mark.parametrize(("axis", "low", "high"), [(0, -4, 4), (1, -54, -44)])
def test_a_gap_across_the_face_costs_no_part_of_it(face, maps, axis, low, high):
    scan = face.scan()
    middle = scan.points[scan.triangles].mean(axis=1)[:, axis]
    keep = (middle < low) | (middle > high)
    cut = preprocess(dataclasses.replace(scan, triangles=scan.triangles[keep], uv_triangles=scan.uv_triangles[keep]))
    assert (maps.valid & ~cut.valid).sum() < 0.15 * maps.valid.sum()  # the gap alone


def test_the_rim_of_a_hole_is_no_nose_tip(face):
    scan = face.scan()
    keep = np.hypot(*(scan.points[scan.triangles].mean(axis=1)[:, :2] - (0, -28)).T) > 17
    landmarks = {name: at for name, at in scan.landmarks.items() if name != "nose_tip"}
    kept = {"triangles": scan.triangles[keep], "uv_triangles": scan.uv_triangles[keep]}
    assert "nose_tip" not in preprocess(dataclasses.replace(scan, landmarks=landmarks, **kept)).landmarks
