"""A page that shows a prepared data set; the same as `afnet inspect`."""

import sys

from afnet_jax.commands.inspect import main

if __name__ == "__main__":
    sys.exit(main())
