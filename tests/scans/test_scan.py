import pickle

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
