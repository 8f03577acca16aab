"""Who a made-up person is: continuous measures of a face, its colours, and how this person shows an emotion."""

from __future__ import annotations

import dataclasses

import numpy as np

# Measure: (mean, standard deviation). Millimetres in the face's own plane, whose origin lies between the eyes;
# widths are half widths; draws are cut at two deviations.
_MEASURES = {
    "face_width": (76.0, 3.5), "face_height": (106.0, 4.0), "face_depth": (92.0, 6.0), "jaw_taper": (0.20, 0.06),
    "hairline": (66.0, 5.0), "forehead": (3.0, 2.0), "temple": (4.0, 1.5),
    "eye_spacing": (32.0, 1.8), "eye_width": (14.5, 0.9), "eye_opening": (5.2, 0.7), "eye_depth": (9.5, 1.6),
    "brow_height": (18.0, 2.0), "brow_arch": (3.5, 1.3), "brow_thickness": (4.6, 0.9), "brow_ridge": (4.0, 1.5),
    "nose_length": (40.0, 2.5), "nose_width": (16.0, 1.6), "nose_projection": (17.0, 2.4), "nose_bridge": (9.0, 1.8),
    "nose_tip": (8.0, 1.0),
    "cheek": (5.5, 2.2), "cheek_height": (-27.0, 3.0),
    "mouth_height": (-63.0, 2.4), "mouth_width": (24.5, 2.0), "upper_lip": (5.0, 0.9), "lower_lip": (6.8, 1.1),
    "lip_protrusion": (4.0, 1.0),
    "chin_height": (-97.0, 3.0), "chin_projection": (7.0, 2.0),
}  # fmt: skip

_SKIN = {
    "WH": (226, 182, 160), "BL": (112, 76, 60), "LA": (196, 148, 118), "AE": (222, 178, 142),
    "AM": (206, 160, 128), "IN": (158, 112, 84),
}  # fmt: skip
_EYES = ((84, 56, 36), (60, 40, 28), (96, 120, 140), (92, 112, 76), (120, 92, 56))
_HAIR = ((38, 28, 24), (70, 48, 34), (120, 90, 58), (24, 20, 20), (140, 120, 100))

# FACS action units of each emotion (Ekman and Friesen; as EMFACS lists them).
EMOTION_UNITS = {
    "AN": (4, 5, 7, 23), "DI": (9, 10, 17), "FE": (1, 2, 4, 5, 20, 25),
    "HA": (6, 12), "SA": (1, 4, 15), "SU": (1, 2, 5, 26), "NE": (),
}  # fmt: skip
_LEVELS = {1: 0.30, 2: 0.50, 3: 0.75, 4: 1.0}


@dataclasses.dataclass(frozen=True)
class Person:
    """A made-up person.

    Attributes:
        number: index within a data set, from 1.
        sex: "F" or "M".
        ethnicity: a code of BU-3DFE.
        measures: name -> mm, see `_MEASURES`.
        skin, lips, iris, brows: RGB in 0 … 255.
        blemishes: (K, 4) freckles and moles: place in the face's plane (2), radius (mm), darkness.
        style: (emotion, unit) -> how strongly this person uses it, about 1.
        borrows: emotion -> (another emotion, share of its units that shows as well).
        asymmetry: stronger side, -1 (subject's right) to 1 (left), times 0.25.
    """

    number: int
    sex: str
    ethnicity: str
    measures: dict[str, float]
    skin: np.ndarray
    lips: np.ndarray
    iris: np.ndarray
    brows: np.ndarray
    blemishes: np.ndarray
    style: dict[tuple[str, int], float]
    borrows: dict[str, tuple[str, float]]
    asymmetry: float

    def __getitem__(self, measure: str) -> float:
        return self.measures[measure]

    def units(self, emotion: str, level: int, rng: np.random.Generator) -> dict[int, tuple[float, float]]:
        """Action units of an expression: unit -> intensity on the subject's right and left, 0 to about 1.2."""
        other, share = self.borrows.get(emotion, (emotion, 0.0))
        units: dict[int, tuple[float, float]] = {}
        for source, scale in ((emotion, 1.0), (other, share)):
            for unit in EMOTION_UNITS[source]:
                strength = scale * _LEVELS[level] * self.style[source, unit] * rng.uniform(0.8, 1.1)
                right, left = units.get(unit, (0.0, 0.0))
                tilt = 0.25 * self.asymmetry + rng.normal(0, 0.05)
                units[unit] = (max(right, strength * (1 - tilt)), max(left, strength * (1 + tilt)))
        return units


def draw_person(number: int, seed: int) -> Person:
    """The `number`-th person of a data set."""
    rng = np.random.default_rng([seed, number, 0])
    sex = "F" if number % 2 else "M"
    ethnicity = str(rng.choice(list(_SKIN)))
    measures = {name: mean + std * np.clip(rng.normal(), -2, 2) for name, (mean, std) in _MEASURES.items()}
    if sex == "M":
        measures["brow_ridge"] += 1.5
        measures["face_height"] += 4
        measures["brow_thickness"] += 0.6
    skin = np.clip(np.array(_SKIN[ethnicity]) * rng.uniform(0.85, 1.12) + rng.normal(0, 6, 3), 40, 250)
    emotions = [e for e in EMOTION_UNITS if e != "NE"]
    return Person(
        number=number,
        sex=sex,
        ethnicity=ethnicity,
        measures=measures,
        skin=skin,
        lips=np.clip(skin * [0.86, 0.62, 0.64] + rng.normal(0, 8, 3), 30, 255),
        iris=np.array(_EYES[rng.integers(len(_EYES))]) * rng.uniform(0.8, 1.2),
        brows=np.array(_HAIR[rng.integers(len(_HAIR))]) * rng.uniform(0.8, 1.2),
        blemishes=np.stack(
            [rng.normal(0, 35, 40), rng.normal(-25, 35, 40), rng.uniform(0.5, 1.4, 40), rng.uniform(0.05, 0.35, 40)], 1
        ),
        style={(e, u): rng.uniform(0.65, 1.15) for e, units in EMOTION_UNITS.items() for u in units},
        borrows={e: (str(rng.choice([o for o in emotions if o != e])), rng.uniform(0, 0.35)) for e in emotions},
        asymmetry=float(rng.uniform(-1, 1)),
    )
