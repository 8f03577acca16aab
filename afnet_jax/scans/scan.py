"""One 3D scan, from whichever database."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from afnet_jax.errors import AFNetError

# Order of the paper's confusion matrices (Fig. 4); a label is an index into it.
EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
EXPRESSION_CODES = ("AN", "DI", "FE", "HA", "SA", "SU")
NEUTRAL_CODE = "NE"

# The names under which both databases' landmarks come out. Left and right are the SUBJECT's.
# A reader gives those that its files hold; BU-3DFE has no nose tip and no nose saddles, for example,
# and adds its further contour points as "<part>_<k>" (right_eye_0 … contour_14).
LANDMARKS = (
    "right_brow_outer", "right_brow_middle", "right_brow_inner",
    "left_brow_inner", "left_brow_middle", "left_brow_outer",
    "right_eye_outer", "right_eye_inner", "left_eye_inner", "left_eye_outer",
    "right_nose_saddle", "left_nose_saddle", "right_nose_wing", "nose_tip", "left_nose_wing",
    "mouth_right", "mouth_left",
    "upper_lip_outer", "upper_lip_inner", "lower_lip_inner", "lower_lip_outer",
    "chin",
)  # fmt: skip


_MAX_NAME = 180  # bytes; file systems take 255, and a name gets a suffix


class ScanError(AFNetError):
    """A scan that cannot be used: names the file, what was expected, what was found and what to do.

    Attributes:
        path: the file at fault.
        fault: the one-line reason, without the path.
    """

    def __init__(self, path: str | Path, fault: str):
        super().__init__(f"{path}: {fault}")
        self.path = Path(path)
        self.fault = fault

    def __reduce__(self):  # so that it survives the way back from a worker process
        return type(self), (self.path, self.fault)


class ScanIdError(ScanError):
    """A file that is a scan by its name, but whose identity cannot be used."""


@dataclasses.dataclass(frozen=True)
class ScanId:
    """Identity of a scan: subject and expression.

    `name` and `subject` become names of files and folders.

    Attributes:
        database: "bu3dfe", "bosphorus" or a name of the user's own.
        subject: the database's id of the person, "F0001" or "bs000".
        expression: one of EXPRESSION_CODES; NEUTRAL_CODE, or any other text where it is none of them or not known.
        level: intensity, 1 or more (BU-3DFE: 1 to 4), or None where the database has no levels.
        ethnicity: the database's code ("WH", "AE", …), or None.
        name: unique within the database, the stem of its files ("F0001_AN03WH", "bs000_E_ANGER_0").
    """

    database: str
    subject: str
    expression: str
    level: int | None
    ethnicity: str | None
    name: str

    def __post_init__(self):
        for field in ("name", "subject"):
            if fault := _no_file_name(getattr(self, field)):
                raise ScanIdError("scan id", f"{field} is {getattr(self, field)!r:.80}, expected {fault}")
        if not isinstance(self.expression, str):
            expected = f"one of {', '.join(EXPRESSION_CODES)}, or another text"
            raise ScanIdError("scan id", f"expression of {self.name} is {self.expression!r:.80}, expected {expected}")
        whole = isinstance(self.level, int | np.integer) and not isinstance(self.level, bool)
        if self.level is not None and not (whole and self.level > 0):
            expected = "a whole number of at least 1, or None"
            raise ScanIdError("scan id", f"level of {self.name} is {self.level!r:.80}, expected {expected}")

    @property
    def label(self) -> int | None:
        """Index into EXPRESSIONS, or None for a face that shows none of them."""
        return EXPRESSION_CODES.index(self.expression) if self.expression in EXPRESSION_CODES else None

    @property
    def sex(self) -> str | None:
        """The code "F" or "M" where the subject's id tells (in BU-3DFE's format), else None."""
        tells = self.database in ("bu3dfe", "synthetic") and self.subject[1:].isdigit()
        return self.subject[0] if tells and self.subject[0] in ("F", "M") else None


def _no_file_name(name: object) -> str:
    """Returns what is expected of a name that is unfit for a file or folder; "" where it is fit."""
    if not isinstance(name, str) or not name.strip():
        return "a text that is not empty"
    if len(name.encode("utf-8", "surrogateescape")) > _MAX_NAME:
        return f"at most {_MAX_NAME} bytes"
    if name.startswith(".") or any(letter in "/\\" or not letter.isprintable() for letter in name):
        return "no leading dot, slash, backslash or unprintable character (set PYTHONUTF8=1 where letters are unknown)"
    return ""


@dataclasses.dataclass(frozen=True)
class Scan:
    """One textured surface with landmarks. N points, M texture points, T triangles, mm everywhere.

    Frame: x to the image's right (the subject's left), y up, z to the camera. The origin is the database's own.
    Where `frontal` is False, the surface may be turned any way.

    Attributes:
        id: identity of the scan.
        points: (N, 3) float64, all finite; every point is surface (background of a range grid is left out).
        triangles: (T, 3) int32 indices into points, counter-clockwise seen from the camera.
        uv: (M, 2) float32 texture points: column u·W and row v·H of the texture image, v from the TOP.
        uv_triangles: (T, 3) int32 indices into uv, corner by corner beside triangles.
        texture: (H, W, 3) uint8 RGB.
        landmarks: name -> (3,) float64; names from LANDMARKS, and a database's own beyond them; {} where no file
            gives any.
        grid: (rows, cols) int32 indices into points, -1 where there is no surface, row 0 at the bottom of the
            face, for scans that came as a range grid; None for free meshes.
        path: the file it was read from, or None.
        remarks: what looked odd and was put right or left as it is, a line each.
        frontal: the face looks about along +z with its top about along +y, as the databases' scans do.
        charted: the texture is a picture, which may be mirrored; False where it was painted from points' colours.
    """

    id: ScanId
    points: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    uv_triangles: np.ndarray
    texture: np.ndarray
    landmarks: Mapping[str, np.ndarray]
    grid: np.ndarray | None = None
    path: Path | None = None
    remarks: tuple[str, ...] = ()
    frontal: bool = True
    charted: bool = True

    @functools.cached_property
    def coloured(self) -> bool:
        """Whether the texture has more than one colour at the texture points; a mesh without colours is plain grey."""
        size = np.array(self.texture.shape[1::-1])
        column, row = np.clip(np.nan_to_num(self.uv) * size, 0, size - 1).astype(int).T
        shown = self.texture[row, column]
        return bool((shown != shown[:1]).any())
