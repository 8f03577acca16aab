"""A finished run beside a linear model of its pixels; the same as `afnet pixel-baseline`."""

import sys

from afnet_jax.commands.pixel_baseline import main

if __name__ == "__main__":
    sys.exit(main())
