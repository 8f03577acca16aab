import shutil
from pathlib import Path

import pytest

from afnet_jax.errors import AFNetError
from afnet_jax.scans import ScanError, bosphorus, bu3dfe, find_scans, read_scan
from afnet_jax.scans.raw_folder import survey_scans

BU_NAMES = [f"{code}{level:02d}WH" for code in ("AN", "DI", "FE", "HA", "SA", "SU") for level in (1, 2, 3, 4)]
BU_NAMES.append("NE00WH")
WORDS = ["E_ANGER_0", "E_DISGUST_0", "E_FEAR_0", "E_HAPPY_0", "E_SADNESS_0", "E_SURPRISE_0"]
OTHER_WORDS = ["N_N_0", "LFAU_12_0", "UFAU_1_0", "CAU_A12A15_0", "YR_R10_0", "PR_U_0", "CR_RD_0", "O_EYE_0"]


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def touch_bu3dfe(root: Path, *subjects: str) -> None:
    for subject in subjects:
        for name in BU_NAMES:
            stems = [f"{subject}_{name}_{kind}" for kind in ("F3D.wrl", "RAW.wrl", "F3D.bmp", "F2D.bmp", "F3D.bnd")]
            touch(root / subject, *stems)


@pytest.mark.parametrize("nesting", ["", "BU_3DFE/disk 1"])
def test_finds_bu3dfe_scans_of_all_levels(tmp_path, nesting):
    touch_bu3dfe(tmp_path / nesting, "M0001", "F0002")
    found = find_scans("bu3dfe", tmp_path)
    names = [scan_id.name for scan_id, _ in found]
    assert len(names) == 48 and names == sorted(names)
    assert {(scan_id.expression, scan_id.level) for scan_id, _ in found} == {
        (code, level) for code in ("AN", "DI", "FE", "HA", "SA", "SU") for level in (1, 2, 3, 4)
    }
    assert all(path.name == f"{scan_id.name}_F3D.wrl" and path.is_file() for scan_id, path in found)


def test_finds_the_protocols_bosphorus_scans(tmp_path):
    touch(tmp_path / "BosphorusDB" / "bs001", *(f"bs001_{word}.bnt" for word in WORDS + OTHER_WORDS))
    touch(tmp_path / "BosphorusDB" / "bs001", *(f"bs001_{word}.png" for word in WORDS), ".bs001_E_ANGER_0.bnt")
    found = find_scans("bosphorus", tmp_path)
    assert [scan_id.name for scan_id, _ in found] == [f"bs001_{word}" for word in WORDS]
    assert [scan_id.label for scan_id, _ in found] == list(range(6))


def test_ids_come_from_names_not_folders(tmp_path):
    touch(tmp_path / "F0009", "F0001_AN03WH_F3D.wrl")
    assert find_scans("bu3dfe", tmp_path)[0][0].subject == "F0001"


def test_synthetic_people_are_found_as_bu3dfe_under_their_own_name(tmp_path):
    touch_bu3dfe(tmp_path, "F0001")
    found = find_scans("synthetic", tmp_path)
    assert len(found) == 24 and {scan_id.database for scan_id, _ in found} == {"synthetic"}


def test_refuses_in_one_line_that_says_what_to_do(tmp_path):
    touch(tmp_path / "bosphorus" / "bs000", "bs000_E_ANGER_0.bnt")
    touch(tmp_path / "neutral" / "F0001", "F0001_NE00WH_F3D.wrl", "F0002_NE00WH_F3D.wrl")
    touch(tmp_path / "raw", "F0001_AN03WH_RAW.wrl")
    touch(tmp_path / "empty")
    touch(tmp_path / "twice" / "a", "F0001_AN03WH_F3D.wrl")
    touch(tmp_path / "twice" / "b", "F0001_AN03WH_F3D.wrl")
    for database, folder, message in [
        ("bu3dfe", "none", "no such folder"),
        ("bu3dfe", "raw/F0001_AN03WH_RAW.wrl", "no such folder"),
        ("bu3dfe", "empty", "no bu3dfe scan"),
        ("bu3dfe", "raw", "no bu3dfe scan"),
        ("bosphorus", "empty", "no bosphorus scan"),
        ("bu3dfe", "bosphorus", "use --database=bosphorus"),
        ("bosphorus", "neutral", "use --database=bu3dfe"),
        ("bu3dfe", "neutral", r"protocol's expressions \(2 neutral faces \(NE\)\)"),
        ("bu3dfe", "twice", "the same scan is also at"),
        ("celeba", "empty", "expected one of bosphorus, bu3dfe, mesh, synthetic"),
    ]:
        with pytest.raises(AFNetError, match=message) as caught:
            find_scans(database, tmp_path / folder)
        assert "\n" not in str(caught.value)


def test_reads_any_database_by_its_files(mesh, dome, tmp_path):
    assert read_scan(str(bu3dfe.write_scan(mesh, tmp_path))).id == mesh.id
    path = bosphorus.write_scan(dome, tmp_path)
    assert read_scan(path).id == dome.id
    assert read_scan(path, "synthetic").id.database == "synthetic"


def test_names_do_not_depend_on_the_folder(mesh, tmp_path):
    path = bu3dfe.write_scan(mesh, tmp_path)
    moved = shutil.copytree(path.parent, tmp_path / "elsewhere" / "M0099") / path.name
    assert read_scan(moved).id == mesh.id


@pytest.mark.parametrize("name", ["scan.xyz", "scan", "F0001_AN03WH_F3D.bmp", "folder"])
def test_says_what_is_accepted(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        ScanError, match=r"expected a BU-3DFE mesh \(…_F3D.wrl\), a Bosphorus range grid .* or a mesh \(.obj"
    ):
        read_scan(tmp_path / name)


def test_samples_are_found(samples):
    """All that show an emotion."""
    assert [path for _, path in find_scans("bu3dfe", samples / "bu3dfe")] == sorted(
        (samples / "bu3dfe").glob("*/*_F3D.wrl")
    )
    assert [path for _, path in find_scans("bosphorus", samples / "bosphorus")] == sorted(
        (samples / "bosphorus").glob("*/*_E_*.bnt")
    )


def test_links_are_followed_once(tmp_path):
    touch(tmp_path / "disk" / "F0001", "F0001_AN03WH_F3D.wrl")
    touch(tmp_path / "raw" / "F0002", "F0002_AN03WH_F3D.wrl")
    (tmp_path / "raw" / "F0001").symlink_to(tmp_path / "disk" / "F0001")
    (tmp_path / "raw" / "again").symlink_to(tmp_path / "disk")
    (tmp_path / "raw" / "F0002 too").symlink_to(tmp_path / "raw" / "F0002")
    (tmp_path / "raw" / "F0002" / "round").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "F0002" / "F0002_HA03WH_F3D.wrl").symlink_to(tmp_path / "raw" / "nowhere.wrl")
    # Stores by content keep files of equal content once, under names that tell nothing.
    touch(tmp_path / "store", "1234")
    for name in ("F0003_AN03WH_F3D.wrl", "F0003_DI03WH_F3D.wrl"):
        (tmp_path / "raw" / name).symlink_to(tmp_path / "store" / "1234")
    names = [scan_id.name for scan_id, _ in find_scans("bu3dfe", tmp_path / "raw")]
    assert names == ["F0001_AN03WH", "F0002_AN03WH", "F0002_HA03WH", "F0003_AN03WH", "F0003_DI03WH"]
    assert find_scans("bu3dfe", tmp_path / "raw")[1][1].parent.name == "F0002"


@pytest.mark.parametrize("upper", [".WRL", ".BMP", ".BND", ".BNT", ".PNG", ".LM3"])
def test_suffixes_in_capitals(mesh, dome, tmp_path, upper):
    database, path = ("bu3dfe", bu3dfe.write_scan(mesh, tmp_path / "raw"))
    if upper in (".BNT", ".PNG", ".LM3"):
        database, path = "bosphorus", bosphorus.write_scan(dome, tmp_path / "raw")
    path.with_suffix(upper.lower()).rename(path.with_suffix(upper))
    ((scan_id, found),) = find_scans(database, tmp_path / "raw")
    assert read_scan(found).id == scan_id


def test_those_left_out_are_counted(tmp_path):
    touch_bu3dfe(tmp_path, "F0001", "M0002")
    assert survey_scans("bu3dfe", tmp_path).left_out == {
        ".wrl files that are none of the scans by their names": 50,
        "neutral faces (NE)": 2,
    }


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def walk(folder, *, followlinks, onerror):
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "F0001")))
        return iter(())

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(ScanError, match="F0001: the folder cannot be read"):
        find_scans("bu3dfe", tmp_path)


def test_meshes_whose_names_tell_no_expression_want_a_rule(tmp_path):
    for name in ("anna_happy.obj", "bert_sad.obj"):
        (tmp_path / name).touch()
    with pytest.raises(ScanError, match=r"2 meshes whose names tell no expression; .* --naming=RULE") as raised:
        find_scans("mesh", tmp_path)
    assert "\n" not in str(raised.value)
