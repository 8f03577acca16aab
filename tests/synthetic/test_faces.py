"""Synthetic faces: what action units do to landmarks, whom they belong to, and how hard they are to tell apart."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from afnet_jax.scans.scan import EXPRESSION_CODES, LANDMARKS
from afnet_jax.synthetic import make_scan, picture, template
from afnet_jax.synthetic.expression import UNITS, Activation, draw_activation, unit_fields
from afnet_jax.synthetic.head import person_at_rest, shape_head
from afnet_jax.synthetic.identity import PARAMETERS, draw_person
from afnet_jax.synthetic.skin import paint_person

PEOPLE = range(8)


def landmarks(subject: int, expression: str, level: int | None = 4, seed: int = 3) -> dict[str, np.ndarray]:
    person, rest = person_at_rest(subject, seed)
    head = shape_head(person, rest, draw_activation(expression, level, (seed, subject)), (0.0, 0.0))
    places = template.interpolate(head.points, np.array([template.common_places()[name] for name in LANDMARKS]))
    return dict(zip(LANDMARKS, places, strict=True))


def rises(expression: str, *names: str) -> list[float]:
    """How far landmarks rise above where they rest, mm, for each person."""
    shown = [(landmarks(s, "NE", None), landmarks(s, expression)) for s in PEOPLE]
    return [float(np.mean([now[name][1] - rest[name][1] for name in names])) for rest, now in shown]


BROWS = tuple(f"{side}_brow_{part}" for side in ("right", "left") for part in ("inner", "middle"))
CORNERS = "mouth_right", "mouth_left"


@pytest.mark.parametrize(
    ("expression", "names", "direction"),
    [("SU", BROWS, 1), ("AN", BROWS, -1), ("HA", CORNERS, 1), ("SA", CORNERS, -1), ("DI", ("upper_lip_inner",), 1)],
)
def test_landmarks_move_as_the_emotion_moves_a_face(expression, names, direction):
    moved = direction * np.array(rises(expression, *names))
    assert (moved > 0.5).all() and np.median(moved) > 1.5


def test_mouths_open_in_surprise():
    def gap(marks: dict[str, np.ndarray]) -> float:
        return marks["upper_lip_inner"][1] - marks["lower_lip_inner"][1]

    assert max(gap(landmarks(subject, "NE", None)) for subject in PEOPLE) < 1.0
    surprised = [gap(landmarks(subject, "SU")) for subject in PEOPLE]
    assert min(surprised) > 2.5 and np.median(surprised) > 10


def test_eyes_open_in_surprise_and_narrow_in_anger():
    def aperture(expression: str, subject: int) -> float:
        person, rest = person_at_rest(subject, 3)
        head = shape_head(person, rest, draw_activation(expression, 4, (3, subject)), (0.0, 0.0))
        return head.aperture[template.EYE_LINING].max()

    assert all(aperture("SU", s) > aperture("AN", s) > 0.5 for s in PEOPLE)


@pytest.mark.parametrize("expression", EXPRESSION_CODES)
def test_displacement_grows_with_the_level(expression):
    rest = landmarks(0, "NE", None)
    by_level = [
        np.mean([np.linalg.norm(at - rest[name]) for name, at in landmarks(0, expression, level).items()])
        for level in (1, 2, 3, 4)
    ]
    assert by_level[0] > 0 and (np.diff(by_level) > 0.1).all()


def test_every_unit_moves_the_face_and_only_a_part_of_it():
    moved = np.linalg.norm(unit_fields(), axis=-1).reshape(len(UNITS), -1)
    lids_only = np.isin(UNITS, (5, 7, 43))
    assert (moved[lids_only] == 0).all()
    assert (moved[~lids_only].max(axis=1) > 2.0).all() and (moved[~lids_only].max(axis=1) < 22.0).all()
    assert ((moved[~lids_only] > 1.0).mean(axis=1) < 0.5).all()


def test_one_sided_activation_moves_one_side():
    strength = np.zeros(len(UNITS))
    smile = strength.copy()
    smile[UNITS.index(12)] = 1.0
    person, rest = person_at_rest(0, 3)
    still = shape_head(person, rest, Activation(strength, strength), (0.0, 0.0))
    smiling = shape_head(person, rest, Activation(strength, smile), (0.0, 0.0))
    moved = template.interpolate(smiling.points - still.points, template.bu3dfe_places()[[48, 54]])
    assert np.linalg.norm(moved[1]) > 8 * np.linalg.norm(moved[0]) > 0


def test_people_differ_in_all_parameters_and_seeds_give_others():
    people = [draw_person(subject, seed) for seed in (0, 1) for subject in range(15)]
    values = np.array([[person.shape[name] for name in PARAMETERS] for person in people])
    assert len(PARAMETERS) >= 20 and (values.std(axis=0) > 0).all()
    assert len(np.unique(values, axis=0)) == len(people)
    assert {person.sex for person in people} == {"F", "M"} and len({person.ethnicity for person in people}) > 2


def test_skin_never_folds_through_itself():
    """Over all people and emotions, nearly all of the skin shows its front to the camera."""
    for subject in PEOPLE:
        person, rest = person_at_rest(subject, 3)
        for expression in EXPRESSION_CODES:
            head = shape_head(person, rest, draw_activation(expression, 4, (3, subject)), (0.0, 0.0))
            facing = picture.normals(head)[template.SKIN_ROWS][..., 2]
            assert (facing > 0).mean() > 0.97


def front_pixels(people: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth and grey, 32×32 each, of heads aligned by eyes and nose tip, their expressions and who they are."""
    pixels, labels, groups = [], [], []
    fixed = np.array([template.common_places()[n] for n in ("right_eye_inner", "left_eye_inner", "nose_tip")])
    for subject in range(people):
        person, rest = person_at_rest(subject, seed)
        sheet = paint_person(person)
        for label, expression in enumerate(EXPRESSION_CODES):
            for level in (3, 4):
                rng = np.random.default_rng([seed, subject, label, level])
                head = shape_head(person, rest, draw_activation(expression, level, (seed, subject)), (0.0, 0.0))
                light = picture.draw_light(rng)
                centre = template.interpolate(head.points, fixed).mean(axis=0)
                step = 220 / 96
                at = (head.points - centre) / step
                view = picture.look(
                    np.stack([42 - at[..., 1], at[..., 0] + 48], axis=-1),
                    at[..., 2],
                    picture.look_attributes(head, light),
                    (96, 96),
                )
                depth = np.where(view.seen, np.maximum(view.depth, -30), -30)
                grey = np.where(view.seen, picture.colours(view.values, sheet, light).mean(axis=-1), 0)
                coarse = [each.reshape(32, 3, 32, 3).mean(axis=(1, 3)).ravel() for each in (depth, grey)]
                pixels.append(np.concatenate(coarse))
                labels.append(label)
                groups.append(subject)
    return np.array(pixels), np.array(labels), np.array(groups)


@pytest.mark.slow
def test_expressions_are_neither_trivial_nor_hidden_for_a_linear_model():
    """Multinomial logistic regression on pixels, subject-disjoint: far above chance (1/6), far from solved."""
    pixels, labels, groups = front_pixels(20, seed=0)
    predicted = np.zeros_like(labels)
    for train, test in GroupKFold(5).split(pixels, labels, groups):
        mean, spread = pixels[train].mean(axis=0), pixels[train].std(axis=0) + 1e-3
        # The ridge solution lies in the span of the training rows: rotating into it changes nothing but the time.
        x = (pixels[train] - mean) / spread
        basis = np.linalg.svd(x, full_matrices=False)[2]
        model = LogisticRegression(C=0.01, max_iter=1000).fit(x @ basis.T, labels[train])
        predicted[test] = model.predict((pixels[test] - mean) / spread @ basis.T)
    assert 0.35 < (predicted == labels).mean() < 0.80


def test_arguments_that_make_no_scan_are_refused():
    for wrong in ({"expression": "XX"}, {"subject": -1}, {"database": "lfw"}, {"level": 5}, {"level": None}):
        arguments = {"subject": 0, "expression": "AN", "level": 3, "database": "bu3dfe", "seed": 0} | wrong
        with pytest.raises(ValueError, match=r"expected|no such scan"):
            make_scan(arguments.pop("subject"), arguments.pop("expression"), arguments.pop("level"), **arguments)
