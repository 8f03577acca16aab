"""Raw scans of made-up people, in a database's own formats, with the true surface beside each.

    python tools/make_synthetic.py --database=bu3dfe --out=made_up --subjects=20 --seed=0

Run again after an interruption, it makes what is missing. NAME_truth.npz holds the surface without noise, spikes and
holes.
"""

from __future__ import annotations

import argparse
import sys

from afnet_jax.command_line import report_faults
from afnet_jax.scans.synthetic import write_people


def levels(text: str) -> tuple[int, ...]:
    """Intensities from 1 to 4, separated by commas."""
    values = tuple(int(part) for part in text.split(","))
    if not values or not set(values) <= {1, 2, 3, 4}:
        raise argparse.ArgumentTypeError(f"{text!r}: expected levels from 1 to 4, as in 3,4")
    return values


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, choices=("bosphorus", "bu3dfe"))
    parser.add_argument("--out", required=True, help="folder of the raw scans; made if need be")
    parser.add_argument("--subjects", required=True, type=positive, help="how many people")
    parser.add_argument("--seed", required=True, type=int, help="who they are")
    parser.add_argument("--clean", action="store_true", help="without noise, spikes and holes")
    parser.add_argument("--levels", type=levels, default=(3, 4), help="of BU-3DFE, default 3,4")
    parser.add_argument("--workers", type=positive, help="processes (default: one per core)")
    given = parser.parse_args()

    def make() -> None:
        count = write_people(
            given.out,
            database=given.database,
            subjects=given.subjects,
            seed=given.seed,
            clean=given.clean,
            levels=given.levels,
            workers=given.workers,
        )
        print(f"{count} scans of {given.subjects} people in {given.out}")

    return report_faults(make)


if __name__ == "__main__":
    sys.exit(main())
