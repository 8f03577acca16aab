import numpy as np
import pytest

from afnet_jax.errors import ConfigError
from afnet_jax.protocol import Fold, draw_folds
from afnet_jax.training import plan

SUBJECTS = np.repeat([f"F{k:04d}" for k in range(1, 11)], 12)


@pytest.fixture
def trainings():
    folds = draw_folds(SUBJECTS, chosen=0, folds=3, rounds=2, seed=0)
    return plan.lay_out(folds, SUBJECTS)


def test_scans_follow_their_subjects(trainings):
    for training in trainings:
        assert not set(SUBJECTS[training.train]) & set(SUBJECTS[training.test])
        assert len(training.train) + len(training.test) == 120


def test_a_subject_who_is_not_there_is_named():
    with pytest.raises(ConfigError, match="M0099"):
        plan.lay_out([Fold(0, 0, ("F0001",), ("M0099",))], SUBJECTS)


def test_an_epoch_shows_each_scan_at_most_once_in_full_batches(trainings):
    shape = plan.common_shape(trainings, batch_size=16)
    indices, active = plan.epoch_batches(trainings, shape, seed=0, epoch=0)
    assert indices.shape == (shape.steps, 6, 16) and active.shape == (shape.steps, 6)
    for column, training in enumerate(trainings):
        shown = indices[active[:, column], column].ravel()
        assert len(shown) == len(set(shown)) == len(training.train) // 16 * 16
        assert set(shown) <= set(training.train)


def test_order_depends_on_seed_round_fold_and_epoch_alone(trainings):
    shape = plan.common_shape(trainings, batch_size=16)
    together, _ = plan.epoch_batches(trainings, shape, seed=5, epoch=3)
    alone, _ = plan.epoch_batches(trainings[4:5], shape, seed=5, epoch=3)
    np.testing.assert_array_equal(together[:, 4], alone[:, 0])
    for other in ({"seed": 6, "epoch": 3}, {"seed": 5, "epoch": 4}):
        assert not np.array_equal(together, plan.epoch_batches(trainings, shape, **other)[0])
    assert not np.array_equal(np.sort(together[0, 0]), np.sort(together[0, 3]))  # same fold, other round


def test_uneven_folds_rest_in_the_last_step(trainings):
    sizes = [len(t.train) for t in trainings]
    assert len(set(sizes)) > 1
    shape = plan.common_shape(trainings, batch_size=12)
    _, active = plan.epoch_batches(trainings, shape, seed=0, epoch=0)
    assert active.sum(0).tolist() == [size // 12 for size in sizes]


def test_a_small_fold_lowers_the_batch(trainings):
    assert plan.common_shape(trainings, batch_size=500).batch == min(len(t.train) for t in trainings)


def test_every_test_scan_is_in_the_test_batches_in_order(trainings):
    shape = plan.common_shape(trainings, batch_size=20)
    batches = plan.test_batches(trainings, shape)
    for column, training in enumerate(trainings):
        flat = batches[:, column].ravel()
        np.testing.assert_array_equal(flat[: len(training.test)], training.test)


def test_groups_hold_trainings_that_have_reached_the_same_the_furthest_first(trainings):
    reached = {t.key: 5 if t.fold == 1 else 0 for t in trainings}
    pending, groups = list(trainings), []
    while pending:
        groups.append(plan.next_group(pending, reached.get, 3))
        pending = [t for t in pending if t.key not in {g.key for g in groups[-1]}]
    assert [[t.key for t in group] for group in groups] == [[(0, 1), (1, 1)], [(0, 0), (0, 2), (1, 0)], [(1, 2)]]


def test_a_group_is_filled_up(trainings):
    filled = plan.fill(trainings[4:], 4)
    assert [t.key for t in filled] == [(1, 1), (1, 2), (1, 2), (1, 2)]
