"""Sets a finished run beside logistic regression on 32×32 pixels of depth and grey, on the same splits.

    afnet pixel-baseline --workdir=runs/synthetic

The run must be finished and its data set at hand.
"""

from __future__ import annotations

from afnet_jax.commands.command_line import command_parser, report_faults


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of a finished run")
    given = parser.parse_args()

    def compare() -> None:
        import numpy as np

        from afnet_jax.analysis import load_run  # not above: --help must not wait for JAX
        from afnet_jax.analysis.baseline import SIZE, pixel_regression
        from afnet_jax.datasets.loading import load

        run = load_run(given.workdir)
        dataset = run.config.dataset.copy_and_resolve_references()
        dataset.image_size = SIZE
        linear = np.mean(pixel_regression(load(dataset), run.splits))
        network = run.summary["accuracy"]["mean"]
        print(f"{run.config.variant}                 {100 * network:.1f} %")
        print(f"logistic regression   {100 * linear:.1f} %")
        print(f"difference            {100 * (network - linear):+.1f} points")

    return report_faults(compare)
