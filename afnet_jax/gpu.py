"""Reports in one line that JAX is installed for CUDA and finds no GPU, in place of JAX's traceback."""

from __future__ import annotations

import logging
import sys
from importlib import metadata

from afnet_jax.errors import AFNetError

_OLDEST_DRIVERS = {"12": 525, "13": 580}  # NVIDIA's, by the version of CUDA
_JAX_LOGGER = "jax._src.xla_bridge"
_warned = False


def report_missing_gpu() -> None:
    """Replaces JAX's traceback with one line from now on; call it before JAX looks for devices."""
    logger = logging.getLogger(_JAX_LOGGER)
    if _replace_traceback not in logger.filters:
        logger.addFilter(_replace_traceback)


def check_gpu() -> None:
    """Tells on stderr, once, that JAX is installed for CUDA and computes on the CPU, unless the CPU was asked for.

    Lets JAX look for its devices, where it has not yet.

    Raises:
        AFNetError: JAX_PLATFORMS asks for devices that are not there.
    """
    import jax  # not above: commands must be able to tell their --help without it

    report_missing_gpu()
    try:
        backend = jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # JAX's, by version and platform
        reason = " ".join(str(error).split()) or "none was found"
        raise AFNetError(
            f"JAX_PLATFORMS={_asked_for()}: JAX has no such device ({reason}). {_advice()}, or unset JAX_PLATFORMS"
        ) from error
    if backend == "cpu":
        _tell("it found none")


def _replace_traceback(record: logging.LogRecord) -> bool:
    """A filter for JAX's logger: False for the traceback of a CUDA plugin that cannot start."""
    if not record.exc_info or "cuda" not in str(record.args):
        return True
    _tell(" ".join(str(record.exc_info[1]).split()))
    return False


def _tell(reason: str) -> None:
    global _warned
    platforms, versions = set((_asked_for() or "cuda,cpu").split(",")), _cuda_versions()
    # Where the CPU alone was asked for, that is as it should be; where a GPU alone was, JAX refuses.
    if _warned or not versions or "cpu" not in platforms or not {"cuda", "gpu"} & platforms:
        return
    _warned = True
    print(
        f"warning: JAX is installed for CUDA {' and '.join(versions)} but cannot use a GPU ({reason}): "
        f"computing on the CPU. {_advice()}. JAX_PLATFORMS=cpu asks for the CPU, without this line",
        file=sys.stderr,
        flush=True,
    )


def _asked_for() -> str | None:
    """JAX's platforms as the user chose them: "cuda,cpu"; None for no choice."""
    return sys.modules["jax"].config.jax_platforms


def _advice() -> str:
    drivers = " or ".join(f"{_OLDEST_DRIVERS[v]} for CUDA {v}" for v in _cuda_versions())
    newer = f", that its driver is new enough (at least {drivers})" if drivers else ", that JAX is installed for it"
    return f"Check that nvidia-smi lists a GPU{newer}, and that a container was started with --gpus=all"


def _cuda_versions() -> list[str]:
    """Returns the CUDA versions of JAX's installed plugins, such as ["13"]."""
    found = []
    for version in _OLDEST_DRIVERS:
        try:
            metadata.version(f"jax-cuda{version}-plugin")
        except metadata.PackageNotFoundError:
            continue
        found.append(version)
    return found
