"""What an Architecture admits, and that its description costs no JAX."""

import dataclasses
import subprocess
import sys

import pytest

from afnet_jax.errors import ConfigError
from afnet_jax.models.architecture import VARIANTS, Architecture


def test_variants_are_those_of_the_papers_tables():
    tables = "afnet no_ma no_iwc s1 s2 s3 s4 texture depth texture_no_ma depth_no_ma"
    assert set(VARIANTS) == set(f"{tables} fuse_1234 fuse_234 fuse_34 fuse_4".split())
    assert VARIANTS["afnet"] == Architecture()
    assert VARIANTS["fuse_34"] == VARIANTS["no_ma"], "the best of Fig. 5 is AFNet-M without MA"


def test_a_description_survives_the_way_through_a_config_file():
    for architecture in VARIANTS.values():
        as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(architecture).items()}
        assert Architecture(**as_json) == architecture


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (
            {"fusion": "late"},
            "model.fusion: expected one of 'layers', 'input', 'decision', 'head', 'none', found 'late'",
        ),
        ({"modalities": ("sound",)}, "found ('sound',)"),
        ({"modalities": ("texture",)}, "one modality takes 'none'"),
        ({"fusion": "none"}, "more take another"),
        ({"fusion": "input"}, "importance_weights needs fusion 'layers'"),
        ({"fusion_stages": (4, 3)}, "ascending stages"),
        ({"fusion_stages": (3,)}, "must hold 4"),
        ({"mask_attention_stages": (1, 3)}, "ascending stages out of (1, 2), found (1, 3)"),
        ({"importance_weights": False, "depth_goes_on": "weighted"}, "needs importance_weights=True"),
        ({"fusion": "head", "importance_weights": False, "head_widths": ()}, "head_widths must not be empty"),
        ({"head_widths": (96, 0)}, "positive whole numbers"),
        ({"mask_hidden_width": -1}, "positive whole numbers"),
        ({"depth_range_mm": (50.0, -70.0)}, "low < high"),
        ({"depth_range_mm": (-70.0, float("inf"))}, "both finite"),
        ({"depth_range_mm": (float("nan"), 50.0)}, "both finite"),
        ({"fusion_per": "layer"}, "model.fusion_per"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(fields, names):
    with pytest.raises(ConfigError) as refused:
        Architecture(**fields)
    assert names in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_description_imports_no_jax():
    code = "import sys, afnet_jax.models.architecture; sys.exit('jax' in sys.modules or 'flax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0
