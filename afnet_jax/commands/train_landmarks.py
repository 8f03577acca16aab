"""Trains the landmark detector on synthetic subjects alone and writes its weights.

    python tools/train_landmarks.py --out=detector.safetensors --work=views

The views that it learns from are made once and kept in --work. The same seed gives the same views and the same order.
To ship the weights: copy the file to afnet_jax/landmarks and enter the SHA-256 that is printed in its weights.py.
"""

from __future__ import annotations

from afnet_jax.commands.command_line import command_parser, not_negative, positive, report_faults
from afnet_jax.machine import usable_cores
from afnet_jax.paths import user_path


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write (.safetensors)")
    parser.add_argument(
        "--work", required=True, metavar="DIR", help="folder for the views, 110 kB a head; made if need be"
    )
    parser.add_argument("--heads", type=positive, default=8000, metavar="N", help="synthetic heads")
    parser.add_argument("--fine_steps", type=positive, default=5000, metavar="N", help="of the fine network")
    parser.add_argument("--coarse_steps", type=positive, default=2500, metavar="N", help="of the coarse network")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="N", help="of heads, views and networks")
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes that make views (default: one per core)"
    )
    args = parser.parse_args()

    def train() -> None:
        from afnet_jax.landmarks.training import train_detector  # it brings JAX and Optax, which --help does not need
        from afnet_jax.landmarks.weights import save_detector

        steps = {"coarse": args.coarse_steps, "fine": args.fine_steps}
        workers = args.workers or usable_cores()
        detector = train_detector(user_path(args.work), args.heads, steps, args.seed, workers)
        out = user_path(args.out)
        print(f"{out}: SHA-256 {save_detector(detector, out)}, {out.stat().st_size / 1e6:.2f} MB")

    return report_faults(train)
