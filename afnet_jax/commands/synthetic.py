"""Writes synthetic subjects in the raw format of a database, the truth (NAME_truth.npz) beside each scan.

    afnet synthetic --database=bu3dfe --out=people --subjects=20 --seed=0

Six expressions of each person; of BU-3DFE at levels 3 and 4. Run again after an interruption, it goes on where it
stopped. A folder takes the people of one seed only.
"""

from __future__ import annotations

import argparse

from afnet_jax.commands.command_line import command_parser, not_negative, positive, report_faults
from afnet_jax.synthetic.population import SCANNERS, write_people


def intensities(text: str) -> tuple[int, ...]:
    """Parses different levels, 1 to 4, with commas between them."""
    levels = set(text.split(","))
    if not levels <= set("1234"):
        raise argparse.ArgumentTypeError(f"expected some of 1,2,3,4, found {text!r}")
    return tuple(sorted(map(int, levels)))


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--database", required=True, choices=sorted(SCANNERS), help="whose format and scanner")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the subjects' folders; made if need be")
    parser.add_argument("--subjects", required=True, type=positive, metavar="N", help="how many people")
    parser.add_argument("--seed", required=True, type=not_negative, metavar="N", help="who they are")
    parser.add_argument("--clean", action="store_true", help="no noise, spikes and holes")
    parser.add_argument("--levels", type=intensities, default=(3, 4), metavar="N,…", help="of BU-3DFE's expressions")
    parser.add_argument("--workers", type=positive, metavar="N", help="processes (default: one per core)")
    arguments = vars(parser.parse_args())
    folder = arguments.pop("out")

    def make() -> None:
        paths = write_people(folder, **arguments)
        subjects = f"{arguments['subjects']} subject" + ("s" if arguments["subjects"] > 1 else "")
        print(f"{len(paths)} scans of {subjects} in {folder}")

    return report_faults(make)
