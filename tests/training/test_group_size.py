"""Trainings side by side, against the memory that compiled training programs were counted to need."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest

from afnet_jax.config import default_config
from afnet_jax.models.architecture import VARIANTS
from afnet_jax.training import group_size
from afnet_jax.training.group_size import MOST_PER_DEVICE, folds_per_group, training_bytes

COUNTED = json.loads((Path(__file__).parents[2] / "benchmarks" / "training-memory.json").read_text())
GIB = 2**30
WHOLE_GROUP = 1000  # trainings of a call: as on a GPU, more than any group has


@dataclasses.dataclass(frozen=True)
class Device:
    """What is asked of a JAX device."""

    platform: str = "gpu"
    bytes_limit: int | None = None

    def memory_stats(self):
        return None if self.bytes_limit is None else {"bytes_limit": self.bytes_limit}


def auto(trainings=1000, *, variant="afnet", size=224, batch=32, dtype="bfloat16", per_call=WHOLE_GROUP, **options):
    config = default_config(variant)
    with config.unlocked():
        config.model.dtype = dtype
        config.dataset.image_size = size
    return folds_per_group(config, trainings, batch=batch, per_call=per_call, **options)


def on_gpu(gib, count=1):
    return [Device(bytes_limit=gib * GIB)] * count


@pytest.mark.parametrize(
    "row", COUNTED["rows"], ids=lambda row: "-".join(str(row[k]) for k in ("variant", "dtype", "image_size", "folds"))
)
def test_model_agrees_with_compiled_programs(row):
    held, working = training_bytes(
        VARIANTS[row["variant"]], dtype=row["dtype"], batch=row["batch"], size=row["image_size"]
    )
    assert held * row["folds"] == pytest.approx(row["state_bytes"], rel=0.01)
    assert working * row["folds"] == pytest.approx(row["temporary_bytes"], rel=0.05)


def test_counts_cover_what_the_model_depends_on():
    for key, least in {"variant": 3, "dtype": 2, "image_size": 3, "folds": 4, "batch": 2}.items():
        assert len({row[key] for row in COUNTED["rows"]}) >= least, key


def test_chosen_groups_fit_by_the_counts():
    """On GPUs from 8 to 141 GB, 75 % of which JAX sets aside."""
    per_fold = {
        (row["variant"], row["dtype"], row["image_size"], row["batch"]): (row["temporary_bytes"] + row["state_bytes"])
        / row["folds"]
        for row in COUNTED["rows"]
    }
    for (variant, dtype, size, batch), bytes_ in per_fold.items():
        for gib in (6, 12, 18, 30, 60, 105):
            chosen = auto(variant=variant, dtype=dtype, size=size, batch=batch, devices=on_gpu(gib))
            assert 1 <= chosen <= MOST_PER_DEVICE and chosen * bytes_ < 0.9 * gib * GIB
            assert chosen == MOST_PER_DEVICE or (chosen + 1) * bytes_ > 0.6 * gib * GIB


@pytest.mark.parametrize("size", [32, 64, 112, 224])
def test_groups_do_not_grow_past_what_pays(size):
    assert auto(size=size, devices=on_gpu(1000)) == MOST_PER_DEVICE


def test_half_the_type_one_trunk_and_smaller_images_let_more_in():
    little = {"devices": on_gpu(18), "trainings": 1000}
    assert auto(**little) > auto(dtype="float32", **little) > 1
    assert auto(variant="texture", dtype="float32", **little) > auto(dtype="float32", **little)
    assert auto(size=112, dtype="float32", **little) > auto(dtype="float32", **little)
    assert auto(batch=8, dtype="float32", **little) > auto(dtype="float32", **little)


def test_the_data_set_takes_its_share():
    assert auto(devices=on_gpu(12), data_bytes=4 * GIB) < auto(devices=on_gpu(12))
    assert auto(devices=on_gpu(12), data_bytes=40 * GIB) == 1


def test_groups_are_of_even_size():
    """22 trainings in groups of at most 20 are 11 and 11: the second of 20 and 2 would be filled up to 20."""
    assert auto(22, devices=on_gpu(100)) == 11
    assert auto(20, devices=on_gpu(100)) == 20
    assert auto(3, devices=on_gpu(100)) == 3


def test_every_device_takes_as_many():
    assert auto(devices=on_gpu(100, count=4)) == 4 * MOST_PER_DEVICE
    assert auto(10, devices=on_gpu(100, count=4)) == 12
    assert auto(devices=on_gpu(3, count=4)) == 4


def test_a_number_is_taken_as_it_is():
    config = default_config()
    with config.unlocked():
        config.train.folds_per_group = "50"
    chosen = {"batch": 32, "per_call": WHOLE_GROUP}
    assert folds_per_group(config, 1000, **chosen, devices=on_gpu(1)) == 50
    assert folds_per_group(config, 7, **chosen, devices=on_gpu(1)) == 7
    assert folds_per_group(config, 1000, **chosen, devices=on_gpu(1, count=4)) == 52


def on_cpu(monkeypatch, gib, count=1, **options):
    monkeypatch.setattr(group_size, "usable_memory", lambda: gib * GIB)
    return auto(devices=[Device("cpu")] * count, per_call=count, **options)


def test_a_container_of_8_gib_holds_what_fits_in_it(monkeypatch):
    """Two networks of float32 with Adam's moments each, for a checkpoint is put together beside the state."""
    state = 2 * 12 * 23.3e6
    chosen = on_cpu(monkeypatch, 8, size=64)
    assert chosen >= 4 and chosen * state < 0.7 * 8 * GIB
    assert on_cpu(monkeypatch, 1, size=64) == 1
    assert on_cpu(monkeypatch, 512, size=64) == MOST_PER_DEVICE


def test_the_devices_of_a_cpu_share_its_memory(monkeypatch):
    assert on_cpu(monkeypatch, 8, size=64, count=4) <= on_cpu(monkeypatch, 8, size=64) + 4


def test_18_trainings_of_32_px_took_12_gib_of_a_cpu(monkeypatch):
    """As a run of 1,000 trainings was measured (docs/performance.md): 11.0 to 12.0 GiB, JAX and Python included."""
    held, working = training_bytes(VARIANTS["afnet"], dtype="float32", batch=32, size=32)
    assert 10 * GIB * 0.9 < 2 * 18 * held + working < 12 * GIB


def test_cgroup_limits_reach_the_choice(monkeypatch, tmp_path):
    """Nothing between the file and the group's size: a fake tree, the project's own reading of it."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{3 * GIB}\n")
    real = group_size.usable_memory
    monkeypatch.setattr(group_size, "usable_memory", lambda: real(tmp_path, {}))
    chosen = auto(devices=[Device("cpu")], per_call=1, size=32)
    assert chosen >= 2 and chosen * 2 * 12 * 23.3e6 < 0.7 * 3 * GIB


def test_this_machine_has_devices():
    assert auto(7, size=32, per_call=jax.local_device_count()) >= 1
