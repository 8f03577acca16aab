import pickle
from pathlib import Path

import pytest

from afnet_jax.scans import EXPRESSIONS, ScanError, ScanId
from afnet_jax.scans.scan import EXPRESSION_CODES


@pytest.mark.parametrize(("code", "name"), list(zip(EXPRESSION_CODES, EXPRESSIONS, strict=True)))
def test_label_is_the_index_of_the_expression(code, name):
    label = ScanId("bu3dfe", "F0001", code, 3, "WH", f"F0001_{code}03WH").label
    assert EXPRESSIONS[label] == name and name[:2].upper() == code


def test_neutral_has_no_label_and_bosphorus_tells_no_sex():
    assert ScanId("bu3dfe", "M0001", "NE", None, "WH", "M0001_NE00WH").label is None
    assert ScanId("bu3dfe", "M0001", "AN", 3, "WH", "M0001_AN03WH").sex == "M"
    assert ScanId("bosphorus", "bs000", "AN", None, None, "bs000_E_ANGER_0").sex is None


def test_scan_error_survives_the_way_back_from_a_worker():
    error = pickle.loads(pickle.dumps(ScanError("a/b.wrl", "cut short")))
    assert (str(error), error.path.name, error.fault) == ("a/b.wrl: cut short", "b.wrl", "cut short")


@pytest.mark.parametrize(
    "name", ["a/b", "../a", "a\\b", "..", ".hidden", "", " ", "a\nb", "a\0b", "\udc80", "x" * 300, None, 3, Path("a")]
)
def test_a_name_that_is_no_file_name_is_refused(name):
    for fields in ({"name": name}, {"subject": name}):
        given = {"subject": "anna", "name": "anna_HA_1"} | fields
        with pytest.raises(ScanError, match=f"scan id: {next(iter(fields))} is .*, expected") as caught:
            ScanId("own", given["subject"], "HA", None, None, given["name"])
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["anna_HA_1", "Größe Ⅲ", "a.b-c (2)", "x" * 180])
def test_other_names_are_taken(name):
    assert ScanId("own", name, "?", 7, None, name).label is None


@pytest.mark.parametrize("level", [0, -1, 1.5, "3", True])
def test_a_level_is_a_whole_number(level):
    with pytest.raises(ScanError, match=r"level of a is .*, expected a whole number"):
        ScanId("own", "a", "HA", level, None, "a")
