import json

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from afnet_jax import protocol
from afnet_jax.errors import ConfigError

SUBJECTS = [f"F{k:04d}" for k in range(1, 57)] + [f"M{k:04d}" for k in range(1, 45)]


def _paper(**changes):
    return protocol.draw_folds(SUBJECTS, **{"chosen": 60, "folds": 10, "rounds": 5, "seed": 0, **changes})


def test_the_papers_protocol():
    folds = protocol.draw_folds(SUBJECTS, chosen=60, folds=10, rounds=100, seed=0)
    assert len(folds) == 1000
    assert {(len(f.train), len(f.test)) for f in folds} == {(54, 6)}
    assert len({s for f in folds for s in f.test}) == 60


def test_every_subject_is_tested_once_a_round_and_never_trained_on_then():
    for round_ in range(5):
        folds = [f for f in _paper() if f.round == round_]
        tested = [s for f in folds for s in f.test]
        assert len(tested) == len(set(tested)) == 60
        for fold in folds:
            assert not set(fold.train) & set(fold.test)
            assert set(fold.train) | set(fold.test) == set(tested)


def test_rounds_are_drawn_anew_and_the_subjects_stay():
    folds = _paper()
    first, second = ([f.test for f in folds if f.round == r] for r in (0, 1))
    assert first != second
    assert {s for t in first for s in t} == {s for t in second for s in t}


def test_subjects_are_redrawn_where_asked():
    folds = _paper(fixed_subjects=False)
    sets = [frozenset(s for f in folds if f.round == r for s in f.test) for r in range(5)]
    assert len(set(sets)) == 5 and all(len(s) == 60 for s in sets)


def test_seed_decides_and_order_of_ids_does_not():
    assert _paper() == protocol.draw_folds(SUBJECTS[::-1], chosen=60, folds=10, rounds=5, seed=0)
    assert _paper() != _paper(seed=1)


def test_a_round_does_not_depend_on_how_many_follow():
    assert _paper(rounds=2) == _paper()[:20]


def test_uneven_parts_differ_by_one_subject_as_scikit_learn_has_them():
    folds = protocol.draw_folds(SUBJECTS[:23], chosen=0, folds=5, rounds=1, seed=3)
    ours = sorted(len(f.test) for f in folds)
    theirs = sorted(len(test) for _, test in GroupKFold(5).split(np.zeros((23, 1)), groups=np.arange(23)))
    assert ours == theirs


def test_complete_subjects():
    subjects = ["a"] * 6 + ["b"] * 5 + ["c"] * 12
    labels = [*range(6), *range(5), *range(6), *range(6)]
    assert protocol.complete_subjects(subjects, labels) == ("a", "c")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"chosen": 101}, ["protocol.subjects=101", "only 100"]),
        ({"chosen": 4}, ["protocol.folds=10", "found 4", "--config.protocol.folds=4"]),
        ({"chosen": 1}, ["protocol.subjects=1", "one subject cannot be trained on and tested"]),
        ({"folds": 1}, ["at least 2 folds"]),
    ],
)
def test_what_cannot_be_drawn_is_said(changes, names):
    with pytest.raises(ConfigError) as error:
        _paper(**changes)
    assert all(name in str(error.value) for name in names)


def test_the_file_lists_rounds_of_folds():
    folds = [protocol.Fold(0, 0, ("a", "b"), ("c",)), protocol.Fold(0, 1, ("c",), ("a", "b"))]
    folds.append(protocol.Fold(1, 0, ("b",), ("a",)))
    first = [{"train": ["a", "b"], "test": ["c"]}, {"train": ["c"], "test": ["a", "b"]}]
    assert json.loads(protocol.to_json(folds)) == {"rounds": [first, [{"train": ["b"], "test": ["a"]}]]}


def test_splits_come_back_from_their_file(tmp_path):
    (tmp_path / "splits.json").write_text(protocol.to_json(_paper()))
    assert protocol.read_splits(tmp_path / "splits.json") == _paper()


def _fold(train, test):
    return {"train": list(train), "test": list(test)}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "expected"),
        ("[]", "expected"),
        (json.dumps({"rounds": []}), "no fold"),
        (json.dumps({"rounds": [[{"train": ["a"], "test": ["a"]}]]}), "trains and tests on a"),
        (json.dumps({"rounds": [[{"train": ["a"], "test": []}]]}), "no subject"),
        (json.dumps({"rounds": [[{"train": "abc", "test": ["d"]}]]}), "'abc' is no list of subject ids"),
        (json.dumps({"rounds": [[{"train": ["a"], "test": ["b"]}], []]}), "round 1 has no fold"),
        (
            json.dumps({"rounds": [[{"train": ["a", "b", "a"], "test": ["c"]}]]}),
            'round 0 fold 0 names a twice in "train"',
        ),
        (json.dumps({"rounds": [[{"train": ["a"], "test": ["c", "c"]}]]}), 'round 0 fold 0 names c twice in "test"'),
        (
            json.dumps({"rounds": [[_fold("ab", "c")], [_fold("ab", "c"), _fold("bd", "ae"), _fold("b", "da")]]}),
            "round 1 tests a in fold 1 and in fold 2",
        ),
    ],
)
def test_splits_that_cannot_be_used(tmp_path, content, fault):
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(ConfigError, match=fault) as error:
        protocol.read_splits(tmp_path / "splits.json")
    assert len(str(error.value).splitlines()) == 1 and str(tmp_path) in str(error.value)


def test_repeated_hold_out_and_subjects_left_out_are_splits(tmp_path):
    rounds = [[_fold("abc", "de")], [_fold("acde", "b"), _fold("b", "ac")], [_fold("ab", "cd")]]
    (tmp_path / "splits.json").write_text(json.dumps({"rounds": rounds}))
    found = protocol.read_splits(tmp_path / "splits.json")
    assert [(f.round, f.fold, "".join(f.train), "".join(f.test)) for f in found] == [
        (0, 0, "abc", "de"),
        (1, 0, "acde", "b"),
        (1, 1, "b", "ac"),
        (2, 0, "ab", "cd"),
    ]


def test_splits_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        protocol.read_splits(tmp_path / "none.json")


def test_nobody_with_all_expressions_is_said():
    with pytest.raises(ConfigError, match="holds no subject with all six expressions"):
        protocol.draw_folds([], chosen=0, folds=10, rounds=1, seed=0)
