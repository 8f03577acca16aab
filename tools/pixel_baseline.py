"""A finished run beside linear models; the earlier name of `afnet compare`."""

import sys

from afnet_jax.commands.compare import main

if __name__ == "__main__":
    sys.exit(main())
