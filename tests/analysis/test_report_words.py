"""What the report says of a run is true of that run."""

import json
import types

import numpy as np

from afnet_jax.analysis import report_attention, report_baselines
from afnet_jax.analysis.gradcam import Explanation
from afnet_jax.maps import Maps
from afnet_jax.scans.scan import EXPRESSIONS
from afnet_jax.sha256 import digest_of
from tests.support.finished_run import make_config

SIZE = 32


def _heat_maps(heat: np.ndarray) -> str:
    maps = Maps(np.zeros((1, 6, SIZE, SIZE, 3), np.uint8), np.zeros((1, 6, SIZE, SIZE, 1), np.float16), None, None)
    explained = Explanation(np.zeros((1, 6, 6)), {"texture": heat, "depth": np.ones_like(heat)}, {})
    return report_attention._attention(maps, explained, np.array(EXPRESSIONS), "round 0, fold 0")


def test_a_picture_without_heat_is_explained():
    heat = np.ones((1, 7, 8, 8))
    heat[0, 6] = 0  # of a scan that is not shown
    assert "without heat" not in _heat_maps(heat)
    heat[0, 4] = 0
    assert "In a picture without heat nothing speaks for the expression." in _heat_maps(heat)


def _linear_models(variant: str) -> str:
    predictions = {"scan_id": np.array(["a"]), "logits": np.zeros((1, 6), np.float32)}
    test = {"interval": None, "p": None}
    model = {"accuracy": {"mean": 0.5}, "difference": 0.1, "t_test": test}
    stored = {
        "rounds": [0],
        "network": 0.6,
        "predictions": digest_of(*predictions.values()),
        "landmarks_found": None,
        "models": {"landmarks": model},
        "together": None,
    }
    run = types.SimpleNamespace(
        baselines=json.loads(json.dumps(stored)),
        predictions=predictions,
        config=make_config(variant),
        splits=[types.SimpleNamespace(round=0)],
        path="run",
    )
    return report_baselines.baselines_section(run)


def test_networks_without_masks_are_not_said_to_see_them():
    assert "which the network sees as masks alone" in _linear_models("afnet")
    assert "which the network does not see" in _linear_models("no_ma")
    assert "which the network does not see" in _linear_models("depth_no_ma")
