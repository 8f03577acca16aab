"""Published ResNet18 weights -> a checkpoint; the same as `afnet port-imagenet`."""

import sys

from afnet_jax.commands.port_imagenet import main

if __name__ == "__main__":
    sys.exit(main())
