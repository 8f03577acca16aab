"""Naming rules: who shows which expression, by the names of mesh files."""

from pathlib import Path

import pytest

from afnet_jax.errors import DatasetError
from afnet_jax.scans import ScanError
from afnet_jax.scans.databases import database_of
from afnet_jax.scans.naming import NamingRule
from afnet_jax.scans.raw_folder import survey_scans
from tests.support import mesh_files


@pytest.mark.parametrize(
    ("rule", "path", "subject", "expression", "level", "name"),
    [
        ("{subject}_{expression}.obj", "raw/anna_happy.obj", "anna", "HA", None, "anna_happy"),
        ("{subject}_{expression}.obj", "raw/anna_maria_AN.OBJ", "anna_maria", "AN", None, "anna_maria_AN"),
        ("{subject}/{expression}{level}.ply", "raw/s01/Surprise3.ply", "s01", "SU", 3, "s01_Surprise3"),
        ("{subject}/*/{expression}.glb", "raw/bob/day 2/neutral.glb", "bob", "NE", None, "bob_day 2_neutral"),
        ("scan-{level}.{expression}-{subject}.stl", "scan-2.fear-x.y.stl", "x.y", "FE", 2, "scan-2.fear-x.y"),
        ("{expression}_{subject}.obj", "jubilant_anna.obj", "anna", "jubilant", None, "jubilant_anna"),
    ],
)
def test_a_path_tells_who_shows_what(rule, path, subject, expression, level, name):
    found = NamingRule(rule).scan_id(Path(path), "own")
    assert (found.subject, found.expression, found.level, found.name) == (subject, expression, level, name)


@pytest.mark.parametrize(
    "path", ["anna.obj", "anna_happy.ply", "anna_3.obj", "_happy.obj", "anna_happy.landmarks.json"]
)
def test_other_names_are_no_scans(path):
    with pytest.raises(ScanError, match="does not follow the rule"):
        NamingRule("{subject}_{expression}.obj").scan_id(Path("raw") / path, "own")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("{subject}.obj", r"holds \{expression\} 0 times"),
        ("{expression}.obj", r"holds \{subject\} 0 times"),
        ("{subject}_{subject}_{expression}.obj", r"holds \{subject\} 2 times"),
        ("{subject}_{expression}_{take}.obj", r"holds \{take\}, expected \{subject\}, \{expression\}, \{level\}"),
        ("{subject}_{expression}", "ends in no suffix, expected one of .obj"),
        ("{subject}_{expression}.wrl", "ends in .wrl, expected one of .obj"),
        ("", r"holds \{subject\} 0 times"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_in_one_line(rule, told):
    with pytest.raises(DatasetError, match=told) as caught:
        NamingRule(rule)
    assert "\n" not in str(caught.value)


def test_brackets_stars_and_dots_of_a_rule_are_taken_as_they_are():
    rule = NamingRule("a+(b)_{subject}.[{expression}].obj")
    assert rule.scan_id(Path("a+(b)_x.[sad].obj"), "own").expression == "SA"
    with pytest.raises(ScanError):
        rule.scan_id(Path("aab_x.[sad].obj"), "own")


def test_a_folder_of_meshes_is_surveyed_and_read(tmp_path):
    for name in ("anna_happy", "anna_neutral", "bert_sad", "bert_bored", "readme"):
        (tmp_path / f"{name}.obj").write_text(mesh_files.obj(lines="", uv=False), encoding="utf-8")
    own = database_of("own", naming="{subject}_{expression}.obj")
    survey = survey_scans(own, tmp_path)
    assert [(scan_id.subject, scan_id.expression) for scan_id, _ in survey.scans] == [("anna", "HA"), ("bert", "SA")]
    assert sum(survey.left_out.values()) == 3 and any("bored" in reason for reason in survey.left_out)
    scan = own.read_scan(survey.scans[0][1])
    assert scan.id == survey.scans[0][0] and scan.id.database == "own"


def test_either_a_rule_or_a_reader(tmp_path):
    with pytest.raises(DatasetError, match="either --reader or --naming"):
        database_of("own", tmp_path / "reader.py", "{subject}_{expression}.obj")
    with pytest.raises(DatasetError, match="has its own reader"):
        database_of("bu3dfe", naming="{subject}_{expression}.obj")


@pytest.mark.parametrize(("name", "told"), [("anna-sad.obj", "expected a mesh named"), ("anna_wut.obj", "show 'wut'")])
def test_a_rule_that_finds_nothing_is_not_sent_to_another_database(tmp_path, name, told):
    (tmp_path / name).write_text(mesh_files.obj(lines="", uv=False), encoding="utf-8")
    with pytest.raises(ScanError, match=told) as caught:
        survey_scans(database_of("faces", naming="{subject}_{expression}.obj"), tmp_path)
    assert "--database=mesh" not in str(caught.value)


def test_a_rule_that_takes_no_name_shows_one_of_them(tmp_path):
    (tmp_path / "anna").mkdir()
    for name in ("anna/sad.ply", "anna/wut.PLY", "anna/face.obj"):
        (tmp_path / name).write_text("ply\n", encoding="utf-8")
    with pytest.raises(ScanError, match=r"found 2 \.ply files of other names, such as anna/sad\.ply; .*the rule"):
        survey_scans(database_of("faces", naming="{subject}_{expression}.ply"), tmp_path)


def test_level_0_is_a_neutral_face(tmp_path):
    for name in ("anna_NE00", "anna_AN01"):
        (tmp_path / f"{name}.obj").write_text(mesh_files.obj(lines="", uv=False), encoding="utf-8")
    own = database_of("faces", naming="{subject}_{expression}{level}.obj")
    survey = survey_scans(own, tmp_path)
    assert [each.name for each, _ in survey.scans] == ["anna_AN01"] and survey.left_out == {"neutral faces (NE)": 1}
    (tmp_path / "anna_SA0.obj").write_text("v 0 0 0\n")
    with pytest.raises(ScanError, match=r"level 0, expected 1 or more; write \* in place of \{level\}"):
        survey_scans(own, tmp_path)
