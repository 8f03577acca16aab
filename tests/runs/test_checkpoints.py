"""What each training has reached is found in whatever checkpoints there are; damage is noticed and never used."""

import contextlib
import hashlib
import json
import resource
import shutil
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint
import pytest

from afnet_jax.errors import RunError
from afnet_jax.runs import checkpoint_files
from afnet_jax.runs.checkpoint_files import restore_checkpoint, save_checkpoint
from afnet_jax.runs.checkpoints import Checkpoints, DamagedCheckpoint, EpochRows, Progress, remove_half_written

GROUP = [(0, 0), (0, 1), (1000, 2)]


def _tree(step: int, folds=(0, 1, 2), *, final: bool = False) -> dict:
    """Each training's rows are a function of its number and the step."""

    def rows(*shape):
        return np.stack([np.random.default_rng([step, f]).normal(size=shape).astype(np.float32) for f in folds])

    tree = {"params": {"conv": {"kernel": rows(64, 33)}}, "batch_stats": {"mean": rows(7)}}
    if not final:
        tree["opt_state"] = {"0": {"count": np.full(len(folds), step, np.int32), "mu": rows(5)}}
    return tree


def _epoch(number: int, columns: int, steps: int = 2) -> EpochRows:
    rows = [[10.0 * number + step + 0.1 * column for column in range(columns)] for step in range(steps)]
    counts = [[step + column for column in range(columns)] for step in range(steps)]
    return EpochRows(number, rows, counts, rows, seconds=6.0)


def _save(checkpoints: Checkpoints, step: int, keys=GROUP, folds=(0, 1, 2), failed=None, **options) -> None:
    checkpoints.save(keys, _tree(step, folds, **options), _epoch(step // 10, len(keys)), failed or {}, step=step)


@pytest.fixture
def folder(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (10, 20, 30):
        _save(checkpoints, step)
        checkpoints.drop_superseded(finished=())
    return tmp_path / "checkpoints"


def _of_step(folder, step):
    (found,) = folder.glob(f"*/{step}")
    return found


def _damage(folder, step):
    for path in (_of_step(folder, step) / "arrays").rglob("*"):  # all: Orbax leaves files that it never reads again
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_the_newest_two_are_kept_and_come_back_bit_for_bit(folder):
    assert sorted(path.name for path in folder.glob("*/*")) == ["20", "30"]
    checkpoints = Checkpoints(folder)
    assert checkpoints.reached((1000, 2)) == Progress(3, 2)
    arrays, epoch, _ = checkpoints.restore(GROUP)
    for name, leaf in checkpoint_files.digest_of_arrays(_tree(30)).items():
        assert checkpoint_files.digest_of_arrays(arrays)[name] == leaf
    assert epoch == _epoch(3, 3)


def test_what_is_not_there_has_reached_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.reached((0, 0)) == Progress(0, 0)
    assert checkpoints.restore(GROUP) is None and checkpoints.weights((0, 0)) is None


def test_trainings_go_on_in_other_groups_than_they_were_saved_in(folder):
    """Four trainings saved as 3 and 1, restored as 2 of either, in another order."""
    checkpoints = Checkpoints(folder)
    _save(checkpoints, 30, keys=[(1000, 3)], folds=[3], failed={"1000/3": {"epoch": 0, "step": 1}})
    arrays, epoch, failed = Checkpoints(folder).restore([(1000, 3), (1000, 2)])
    expected = _tree(30, (3, 2))
    np.testing.assert_array_equal(arrays["params"]["conv"]["kernel"], expected["params"]["conv"]["kernel"])
    np.testing.assert_array_equal(arrays["opt_state"]["0"]["mu"], expected["opt_state"]["0"]["mu"])
    assert epoch.loss == [[30.0, 30.2], [31.0, 31.2]] and epoch.correct == [[0, 2], [1, 3]]
    assert epoch.seconds == 6.0 + 6.0 / 3 and failed == {"1000/3": {"epoch": 0, "step": 1}}


def test_a_group_of_the_same_first_and_last_training_is_another_group(folder):
    """What a checkpoint holds decides, and not the name of its folder."""
    checkpoints = Checkpoints(folder)
    _save(checkpoints, 40, keys=[GROUP[0], (5, 5), GROUP[2]], folds=(0, 7, 2))
    arrays, _, _ = Checkpoints(folder).restore([(0, 1)])
    np.testing.assert_array_equal(arrays["batch_stats"]["mean"], _tree(30, (1,))["batch_stats"]["mean"])
    assert Checkpoints(folder).reached((0, 1)) == Progress(3, 2)


def test_finished_weights_come_before_any_checkpoint_under_way(folder):
    checkpoints = Checkpoints(folder)
    _save(checkpoints, 25, keys=[(0, 1)], folds=[1], final=True)
    for found in (checkpoints, Checkpoints(folder)):
        np.testing.assert_array_equal(
            found.weights((0, 1))["params"]["conv"]["kernel"], _tree(25, (1,))["params"]["conv"]["kernel"][0]
        )
        assert found.final((0, 1)) and not found.final((0, 0)) and found.weights((0, 0)) is None


def test_the_folders_of_earlier_versions_open(folder):
    """Their names are of another form, their records are the same."""
    (group,) = folder.iterdir()
    group.rename(folder / "round000_fold00-round100_fold02")
    arrays, _, _ = Checkpoints(folder).restore([(1000, 2)])
    np.testing.assert_array_equal(arrays["batch_stats"]["mean"], _tree(30, (2,))["batch_stats"]["mean"])


def test_what_nobody_needs_is_removed(folder):
    """Finished weights stay; a checkpoint under way goes when all of its trainings are finished or further on."""
    checkpoints = Checkpoints(folder)
    for step in (40, 50):
        _save(checkpoints, step, keys=GROUP[:1], folds=[0])
    checkpoints.drop_superseded(finished={GROUP[1]})
    assert {path.name for path in folder.glob("*/*")} == {"20", "30", "40", "50"}  # the third still needs 20 and 30
    _save(checkpoints, 70, keys=GROUP[2:], folds=[2], final=True)
    checkpoints.drop_superseded(finished={GROUP[1], GROUP[2]}, mine=GROUP[:1])
    assert {path.name for path in folder.glob("*/*")} == {"20", "30", "40", "50", "70"}  # others' may be in use
    checkpoints.drop_superseded(finished={GROUP[1], GROUP[2]})
    assert {path.name for path in folder.glob("*/*")} == {"40", "50", "70"}
    checkpoints.drop_superseded(finished=set(GROUP))
    assert {path.name for path in folder.glob("*/*")} == {"70"} and len(list(folder.iterdir())) == 1


def test_what_is_no_checkpoint_is_ignored(folder, caplog):
    (folder / "notes.txt").write_text("mine")
    (folder / "another" / "12").mkdir(parents=True)
    (folder / "another" / "readme").write_text("mine")
    assert Checkpoints(folder).reached((0, 0)) == Progress(3, 2)
    assert "another/12" in caplog.text and "passed over" in caplog.text


@contextlib.contextmanager
def _no_file_over(size: int):
    """Lets the system refuse every write beyond that many bytes of a file, as a disk does that has become full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_is_one_line_and_costs_nothing(folder):
    checkpoints = Checkpoints(folder)
    with _no_file_over(4096), pytest.raises(RunError, match=r"40: checkpoint cannot be written \(.*\)") as told:
        _save(checkpoints, 40)
    assert "\n" not in str(told.value)
    assert {path.name for path in folder.glob("*/*")} == {"20", "30"}
    for found in (checkpoints, Checkpoints(folder)):
        assert found.reached((0, 0)) == Progress(3, 2)


def test_the_state_stays_until_the_weights_of_the_same_step_are_there(folder):
    """As when a run is stopped in its very last step, goes on, and its finished weights cannot be written."""
    checkpoints = Checkpoints(folder)
    with _no_file_over(4096), pytest.raises(RunError):
        _save(checkpoints, 30, final=True)
    assert Checkpoints(folder).reached((0, 0)) == Progress(3, 2) and not checkpoints.final((0, 0))
    _save(checkpoints, 30, final=True)
    checkpoints.drop_superseded(finished=GROUP)
    assert Checkpoints(folder).final((0, 0)) and len(list(folder.glob("*/*"))) == 1


def test_a_checkpoint_takes_the_place_of_a_damaged_one(folder):
    (_of_step(folder, 30) / "record" / "metadata").write_text("{}")
    checkpoints = Checkpoints(folder)
    _save(checkpoints, 30)
    assert Checkpoints(folder).reached((0, 0)) == Progress(3, 2)
    assert {path.name for path in folder.glob("*/*")} == {"20", "30"}


def test_a_disk_that_has_no_room_is_not_written_to(folder, monkeypatch):
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(RunError, match=r"40: checkpoint cannot be written \(no space left on the disk\)"):
        _save(Checkpoints(folder), 40)
    assert {path.name for path in folder.glob("*/*")} == {"20", "30"}


def _delicate_tree() -> dict:
    """What a format may take for something else: zeros of either sign, NaN with a payload, integers of full width."""
    return {
        "params": {"zero": np.zeros((2, 3), np.float32), "minus_zero": np.full((2, 3), -0.0, np.float32)},
        "batch_stats": {"nan": np.array([[0x7FC00001], [0xFFC12345]], np.uint32).view(np.float32)},
        "opt_state": {
            "0": {"count": np.array([-(2**31), 2**31 - 1], np.int32)},
            "1": {},  # what Optax has for a transformation without a state
            "key": np.array([2**32 - 1], np.uint32),
        },
    }


def _assert_same_bits(one: dict, other: dict) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32)), one, other)


def test_every_bit_comes_back(tmp_path):
    path = tmp_path / "a folder, größer als 100%25" / "1"
    save_checkpoint(path, _delicate_tree(), {"step": 1})
    arrays, record = restore_checkpoint(path)
    _assert_same_bits(arrays, _delicate_tree())
    assert record == {"step": 1} and [p.name for p in path.parent.iterdir()] == ["1"]


def test_orbax_opens_what_is_written(tmp_path):
    save_checkpoint(tmp_path / "1", _delicate_tree(), {"step": 1})
    arrays = orbax.checkpoint.PyTreeCheckpointer().restore(tmp_path / "1" / "arrays")
    _assert_same_bits(arrays, _delicate_tree())


def test_what_orbax_has_written_opens(tmp_path):
    """With the record that belongs to it, whose digests are taken with hashlib alone."""
    path, leaves = tmp_path / "1", {}
    for key, leaf in jax.tree_util.tree_leaves_with_path(_delicate_tree()):
        shape = f"{leaf.dtype.str}{leaf.shape}".encode()
        leaves["/".join(k.key for k in key)] = hashlib.sha256(shape + leaf.tobytes()).hexdigest()
    content = {"record": {"step": 1}, "digests": leaves}
    seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    orbax.checkpoint.PyTreeCheckpointer().save(path / "arrays", _delicate_tree())
    (path / "record").mkdir()
    (path / "record" / "metadata").write_text(json.dumps({**content, "seal": seal}))
    arrays, record = restore_checkpoint(path)
    _assert_same_bits(arrays, _delicate_tree())
    assert record == {"step": 1}


def test_a_checkpoint_of_november_2026_opens():
    """Written through Orbax by the edition of the package that had no writer of its own."""
    arrays, record = restore_checkpoint(Path(__file__).parent / "golden" / "through_orbax")
    _assert_same_bits(arrays, _delicate_tree())
    assert record == {"step": 1}


def test_flipped_bits_are_noticed_or_harmless_and_never_used(tmp_path):
    path = tmp_path / "30"
    save_checkpoint(path, _delicate_tree(), {"step": 30})
    rng = np.random.default_rng(0)
    noticed = 0
    for file in [p for p in path.rglob("*") if p.is_file() and p.stat().st_size]:
        whole = file.read_bytes()
        for position in rng.integers(0, len(whole), 10):
            file.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
            try:
                arrays, record = restore_checkpoint(path)
            except RunError:
                noticed += 1
            else:
                _assert_same_bits(arrays, _delicate_tree())
                assert record == {"step": 30}
        file.write_bytes(whole)
    assert noticed > 20


def test_a_damaged_newest_gives_way_to_the_one_before_it(folder):
    _damage(folder, 30)
    checkpoints = Checkpoints(folder)
    with pytest.raises(DamagedCheckpoint) as damaged:
        checkpoints.restore(GROUP[:1])
    checkpoints.pass_over(damaged.value, GROUP)
    arrays, _, _ = checkpoints.restore(GROUP[:1])
    np.testing.assert_array_equal(arrays["batch_stats"]["mean"], _tree(20, (0,))["batch_stats"]["mean"])
    assert {path.name for path in folder.glob("*/*")} == {"20"}


def test_none_good_is_an_error_that_says_what_to_do(folder):
    _damage(folder, 20)
    _damage(folder, 30)
    checkpoints = Checkpoints(folder)
    with pytest.raises(DamagedCheckpoint) as newest:
        checkpoints.restore(GROUP)
    checkpoints.pass_over(newest.value, GROUP)
    with pytest.raises(DamagedCheckpoint) as oldest:
        checkpoints.restore(GROUP)
    with pytest.raises(RunError, match=r"no other one of round 0 fold 0: remove .*20 to train it from the start"):
        checkpoints.pass_over(oldest.value, GROUP)
    assert _of_step(folder, 20).exists()


def test_an_altered_record_is_noticed_and_passed_over(folder, caplog):
    path = _of_step(folder, 30) / "record" / "metadata"
    content = json.loads(path.read_text())
    content["record"]["trainings"] = [[0, 3], [0, 4], [0, 5]]
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match="record is damaged"):
        restore_checkpoint(_of_step(folder, 30))
    assert Checkpoints(folder).reached((0, 0)) == Progress(2, 2)
    assert "record is damaged" in caplog.text


def test_digests_are_those_of_earlier_versions():
    """SHA-256 of dtype, shape and bytes; taken with hashlib alone from the bytes of the array."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::2]
    digests = checkpoint_files.digest_of_arrays({"a": array, "empty": np.zeros((0, 3), np.int32)})
    assert digests["a"] == "d7643d071660a53cd15448cdd005bbacdb6aad4b8bb8e936260f96059a350a50"
    assert len(digests["empty"]) == 64


def test_a_half_written_checkpoint_does_not_count(folder):
    (group,) = folder.iterdir()
    (group / "40.orbax-checkpoint-tmp").mkdir()
    assert Checkpoints(folder).reached((0, 0)) == Progress(3, 2)
    remove_half_written(folder)
    assert not (group / "40.orbax-checkpoint-tmp").exists()
