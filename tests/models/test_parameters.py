"""The audit against Table IV and against sums made by hand."""

import pytest

from afnet_jax.models.architecture import VARIANTS
from afnet_jax.models.parameters import audit, size, sizes


def test_table_iv_to_its_last_digit():
    parts, whole, without_ma = sizes(VARIANTS["afnet"]), size(VARIANTS["afnet"]), size(VARIANTS["no_ma"])
    assert parts["trunks"].mib == pytest.approx(85.27, abs=0.005)
    assert without_ma.mib_per_call == pytest.approx(90.51, abs=0.005)  # as in the paper
    assert without_ma.mib == pytest.approx(88.00, abs=0.005)
    assert parts["importance_weights"].mib_per_call == pytest.approx(5.012, abs=0.0005)  # 5.01 in the paper
    assert whole.mib_per_call == pytest.approx(91.14, abs=0.005)
    assert whole.mib == pytest.approx(88.63, abs=0.005)
    # What the paper's figures leave over lies wholly in MA, 1.03 there.
    assert parts["mask_attention"].mib_per_call == pytest.approx(1.03 - 0.399, abs=0.0005)


def test_parts_are_the_sums_that_one_makes_by_hand():
    parts = sizes(VARIANTS["afnet"])
    assert parts["trunks"].count == 2 * 11_176_512  # torchvision's ResNet18 without its fc
    assert parts["head"].count == (512 + 1) * 96 + (96 + 1) * 96 + (96 + 1) * 6
    assert parts["importance_weights"].count == 2 * (257 * 256 + 513 * 512)
    assert parts["importance_weights"].count_per_call == 2 * parts["importance_weights"].count
    assert parts["mask_attention"].count == 2 * 4 * (65 * 64 + 129 * 128)


def test_audit_is_what_summaries_carry():
    found = audit(VARIANTS["texture_no_ma"])
    assert found["count"] == 11_176_512 + 59_142
    assert found["mib"] == found["mib_per_call"] == pytest.approx(4 * found["count"] / 2**20)
