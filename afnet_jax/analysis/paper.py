"""The rows of the paper's tables, to stand beside ours; the accuracies are those of each database's entry."""

from __future__ import annotations

from typing import NamedTuple

from afnet_jax.models.architecture import VARIANTS, Architecture
from afnet_jax.scans.databases import DATABASES

STUDIED = tuple(database for database in DATABASES.values() if database.paper)  # the databases that are in the paper


class Row(NamedTuple):
    """A row of one of the paper's tables.

    Attributes:
        name: of the method, as the paper has it.
        variant: ours that it is, see `VARIANTS`; None for others' methods.
    """

    name: str
    variant: str | None = None

    def accuracy(self, database: str) -> float | None:
        """Returns the paper's accuracy on a database, %; None where it has none."""
        if database not in DATABASES:
            return None
        # Two variants may be one network, as Layer34 of Fig. 5 is the last row of Table II.
        twins = [variant for variant in VARIANTS if self.variant and VARIANTS[variant] == VARIANTS[self.variant]]
        known = DATABASES[database].paper
        return next((known[name] for name in (*twins, self.name) if name in known), None)


# Other methods, in the order of Table I.
_OTHERS = (
    "Tang 2008", "Gong 2009", "Li 2012", "Yang 2015", "Li 2015", "Fu 2019",
    "Li 2017", "Wei 2018", "Jan 2018", "Chen 2018", "Tian 2019", "Jiao 2019",
    "Zhu 2019", "Jiao 2020", "Zhu 2020", "Sui 2021", "Ni 2022",
)  # fmt: skip

TABLE_I = (
    *map(Row, _OTHERS),
    Row("AFNet-M, 2D", "texture"),
    Row("AFNet-M, 3D", "depth"),
    Row("AFNet-M, 2D+3D", "afnet"),
)

TABLE_II = (
    Row("S1: data level", "s1"),
    Row("S2: decision level", "s2"),
    Row("S3: after the fully-connected layers", "s3"),
    Row("S4: Layer3 and Layer4", "s4"),
    Row("Layer3 and Layer4 with IWC", "no_ma"),
)

TABLE_III = (
    Row("2D", "texture_no_ma"),
    Row("2D with MA", "texture"),
    Row("3D", "depth_no_ma"),
    Row("3D with MA", "depth"),
    Row("2D+3D (IWC)", "no_ma"),
    Row("2D+3D (IWC) with MA", "afnet"),
)

# The bars' heights cannot be read off, but for Layer34: it is the last row of Table II.
FIG_5 = (
    Row("Layer1234", "fuse_1234"),
    Row("Layer234", "fuse_234"),
    Row("Layer34", "fuse_34"),
    Row("Layer4", "fuse_4"),
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


def of_network(network: Architecture, database: str) -> float | None:
    """The paper's accuracy of a network, %; None where it has none."""
    rows = (*TABLE_I, *TABLE_II, *TABLE_III, *FIG_5)
    found = [row for row in rows if row.variant is not None and VARIANTS[row.variant] == network]
    return found[0].accuracy(database) if found else None
