"""A finished run's networks -> StableHLO and safetensors; the same as `afnet export`."""

import sys

from afnet_jax.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
