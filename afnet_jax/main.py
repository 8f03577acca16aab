"""python -m afnet_jax.main: the same as `afnet train`."""

import sys

from afnet_jax.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
