"""The paper's numbers, to stand beside ours: accuracies in percent, BU-3DFE first, then Bosphorus."""

from __future__ import annotations

from typing import NamedTuple

DATABASES = {"bu3dfe": "BU-3DFE", "bosphorus": "Bosphorus", "synthetic": "made-up people", "own": "one's own scans"}
STUDIED = ("bu3dfe", "bosphorus")  # in the paper


class Row(NamedTuple):
    """A row of one of the paper's tables.

    Attributes:
        name: of the method, as the paper has it.
        variant: ours that it is, see `VARIANTS`; None for others' methods.
        bu3dfe, bosphorus: accuracy, %; None where the paper has none.
    """

    name: str
    variant: str | None
    bu3dfe: float | None
    bosphorus: float | None

    def accuracy(self, database: str) -> float | None:
        """Of a database; None for one that the paper does not know."""
        return {"bu3dfe": self.bu3dfe, "bosphorus": self.bosphorus}.get(database)


TABLE_I = (
    Row("Tang 2008", None, 74.51, None),
    Row("Gong 2009", None, 76.22, None),
    Row("Li 2012", None, 80.14, 75.83),
    Row("Yang 2015", None, 84.80, 77.50),
    Row("Li 2015", None, 86.32, 79.72),
    Row("Fu 2019", None, 82.89, 75.93),
    Row("Li 2017", None, 86.86, 80.28),
    Row("Wei 2018", None, 88.03, 82.50),
    Row("Jan 2018", None, 88.54, None),
    Row("Chen 2018", None, 86.67, None),
    Row("Tian 2019", None, None, 79.17),
    Row("Jiao 2019", None, 89.11, None),
    Row("Zhu 2019", None, 88.35, None),
    Row("Jiao 2020", None, 89.72, 83.63),
    Row("Zhu 2020", None, 88.75, None),
    Row("Sui 2021", None, 89.82, 87.65),
    Row("Ni 2022", None, 88.91, 85.16),
    Row("AFNet-M, 2D", "texture", 87.68, 85.42),
    Row("AFNet-M, 3D", "depth", 86.97, 82.06),
    Row("AFNet-M, 2D+3D", "afnet", 90.08, 88.31),
)

TABLE_II = (
    Row("S1: data level", "s1", 86.54, 85.08),
    Row("S2: decision level", "s2", 86.28, 84.36),
    Row("S3: after the fully-connected layers", "s3", 87.61, 85.54),
    Row("S4: Layer3 and Layer4", "s4", 88.12, 86.17),
    Row("Layer3 and Layer4 with IWC", "no_ma", 88.89, 87.11),
)

TABLE_III = (
    Row("2D", "texture_no_ma", 85.06, 82.69),
    Row("2D with MA", "texture", 87.68, 85.42),
    Row("3D", "depth_no_ma", 84.37, 80.58),
    Row("3D with MA", "depth", 86.97, 82.06),
    Row("2D+3D (IWC)", "no_ma", 88.89, 87.11),
    Row("2D+3D (IWC) with MA", "afnet", 90.08, 88.31),
)

# The bars' heights cannot be read off, but for Layer34: it is the last row of Table II.
FIG_5 = (
    Row("Layer1234", "fuse_1234", None, None),
    Row("Layer234", "fuse_234", None, None),
    Row("Layer34", "fuse_34", 88.89, 87.11),
    Row("Layer4", "fuse_4", None, None),
)

# Table IV: MB (MiB of float32) of a network's parameters.
TABLE_IV_PEERS = {"VGG-M-DF (2018)": 327.0, "DA-CNN (2019)": 463.0, "FFNet-M (2021)": 93.0}
# Of its own networks, and of single modules as differences of those rows; None for what it does not give.
TABLE_IV = {
    "two trunks, no head": None,
    "without MA": 90.51,
    "without IWC": 86.53,
    "IWC alone": 5.01,
    "MA alone": 1.03,
    "AFNet-M": 91.54,
}


def of_variant(variant: str, database: str) -> float | None:
    """The paper's accuracy of one of our variants, %; None where it has none."""
    found = [row for row in (*TABLE_I, *TABLE_II, *TABLE_III, *FIG_5) if row.variant == variant]
    return found[0].accuracy(database) if found else None
