"""Trains the landmark detector; the same as `python -m afnet_jax.commands.train_landmarks`."""

import sys

from afnet_jax.commands.train_landmarks import main

if __name__ == "__main__":
    sys.exit(main())
