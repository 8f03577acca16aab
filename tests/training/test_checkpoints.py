import json

import numpy as np
import pytest

from afnet_jax.errors import RunError
from afnet_jax.training import checkpoints as checkpoint_module
from afnet_jax.training.checkpoints import Checkpoints


def _tree(step: int) -> dict:
    rng = np.random.default_rng(step)
    return {
        "params": {"conv": {"kernel": rng.normal(size=(3, 64, 33)).astype(np.float32)}},
        "opt_state": {"0": {"count": np.full(3, step, np.int32), "mu": [rng.normal(size=(3, 5)).astype(np.float32)]}},
    }


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "group")
    for step in (10, 20, 30):
        checkpoints.save(step, _tree(step), {"step": step, "loss": [[0.1, float(np.float32(1) / 3)]]})
    return checkpoints


def _array_files(folder, step):
    return sorted(p for p in (folder / "group" / str(step) / "arrays").rglob("*") if p.is_file() and p.stat().st_size)


def test_the_newest_two_are_kept_and_come_back_bit_for_bit(checkpoints):
    assert checkpoints.steps() == [20, 30]
    arrays, record = checkpoints.restore_newest()
    expected = _tree(30)
    np.testing.assert_array_equal(arrays["params"]["conv"]["kernel"], expected["params"]["conv"]["kernel"])
    np.testing.assert_array_equal(arrays["opt_state"]["0"]["mu"][0], expected["opt_state"]["0"]["mu"][0])
    assert record == {"step": 30, "loss": [[0.1, float(np.float32(1) / 3)]]}


def test_nothing_there_is_nothing(tmp_path):
    assert Checkpoints(tmp_path / "none").restore_newest() is None


def test_a_full_disk_is_one_line_and_costs_nothing(checkpoints, tmp_path, monkeypatch):
    def full(self, path, **_):
        (path.parent / f"{path.name}.orbax-checkpoint-tmp").mkdir()
        raise ValueError("RESOURCE_EXHAUSTED: Error writing\nNo space left on device [os_error_code='28']")

    monkeypatch.setattr(checkpoint_module.ocp.Checkpointer, "save", full)
    with pytest.raises(RunError, match=r"40: checkpoint cannot be written \(no space left on the disk\)"):
        checkpoints.save(40, _tree(40), {})
    assert checkpoints.steps() == [20, 30] and not list((tmp_path / "group").glob("*tmp*"))
    assert checkpoints.restore_newest()[1]["step"] == 30


def test_flipped_bits_are_noticed_or_harmless_and_never_used(checkpoints, tmp_path):
    rng = np.random.default_rng(0)
    expected = _tree(30)["params"]["conv"]["kernel"]
    noticed = 0
    for path in [p for p in (tmp_path / "group" / "30").rglob("*") if p.is_file() and p.stat().st_size]:
        whole = path.read_bytes()
        for position in rng.integers(0, len(whole), 3):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
            try:
                arrays, record = checkpoints.restore(30)
            except RunError:
                noticed += 1
            else:
                np.testing.assert_array_equal(arrays["params"]["conv"]["kernel"], expected)
                assert record["step"] == 30
        path.write_bytes(whole)
    assert noticed > 10


def test_a_damaged_newest_gives_way_to_the_one_before_it(checkpoints, tmp_path):
    for path in _array_files(tmp_path, 30):  # all of them, for Orbax leaves files behind that it never reads again
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _, record = checkpoints.restore_newest()
    assert record["step"] == 20
    assert checkpoints.steps() == [20]


def test_an_altered_record_is_noticed(checkpoints, tmp_path):
    path = tmp_path / "group" / "30" / "record" / "metadata"
    content = json.loads(path.read_text())
    content["record"]["step"] = 31
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match="record is damaged"):
        checkpoints.restore(30)


def test_none_good_is_an_error_that_says_what_to_do(checkpoints, tmp_path):
    for step in (20, 30):
        for path in _array_files(tmp_path, step):
            path.write_bytes(b"")
    with pytest.raises(RunError, match="remove the folder"):
        checkpoints.restore_newest()


def test_a_half_written_checkpoint_does_not_count(checkpoints, tmp_path):
    (tmp_path / "group" / "40.orbax-checkpoint-tmp").mkdir()
    assert checkpoints.steps() == [20, 30]
    checkpoints.restore_newest()
    assert not (tmp_path / "group" / "40.orbax-checkpoint-tmp").exists()


def test_removal(checkpoints):
    checkpoints.remove(but_newest=True)
    assert checkpoints.steps() == [30]
    checkpoints.remove()
    assert checkpoints.steps() == []
