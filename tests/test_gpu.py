"""JAX installed for CUDA on a machine without a GPU: what a user is told, by JAX itself with a plugin that fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from afnet_jax import gpu

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(gpu._cuda_versions()), reason="JAX is installed for CUDA here: its own plugin runs"),
]

ROOT = Path(__file__).parents[1]
LINE = "warning: JAX is installed for CUDA 13 but cannot use a GPU"
FAILING = 'def initialize():\n    raise RuntimeError("Unable to load cuPTI. Is it installed?")\n'
SILENT = "def initialize():\n    pass\n"
COMPUTE = (
    "from afnet_jax.commands.command_line import report_faults\n"
    "def main():\n"
    "    import jax\n"
    "    from afnet_jax.gpu import check_gpu\n"
    "    {first}\n"
    "    check_gpu()\n"
    "    check_gpu()\n"
    "    print(jax.default_backend())\n"
    "raise SystemExit(report_faults(main))\n"
)


def run(place, plugin, platforms=None, first="pass"):
    """Stdout, lines of stderr and exit status of a command of ours, beside such a plugin or none."""
    if plugin is not None:
        (place / "jax_plugins" / "xla_cuda13").mkdir(parents=True)
        (place / "jax_plugins" / "xla_cuda13" / "__init__.py").write_text(plugin)
        (place / "jax_cuda13_plugin-0.0.dist-info").mkdir()
        (place / "jax_cuda13_plugin-0.0.dist-info" / "METADATA").write_text("Name: jax-cuda13-plugin\nVersion: 0.0\n")
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(place), str(ROOT)])
    if platforms:
        environment["JAX_PLATFORMS"] = platforms
    done = subprocess.run(
        [sys.executable, "-c", COMPUTE.format(first=first)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip(), done.stderr.splitlines(), done.returncode


@pytest.mark.parametrize("first", ["pass", "jax.devices()"], ids=["looked for by the check", "looked for before"])
def test_one_line_instead_of_a_traceback(tmp_path, first):
    out, (line,), status = run(tmp_path, FAILING, first=first)
    assert (out, status) == ("cpu", 0)
    assert line.startswith(f"{LINE} (Unable to load cuPTI. Is it installed?): computing on the CPU")
    assert all(hint in line for hint in ("nvidia-smi", "580 for CUDA 13", "--gpus=all", "JAX_PLATFORMS=cpu"))


def test_one_line_where_jax_says_nothing(tmp_path):
    _, (line,), status = run(tmp_path, SILENT)
    assert status == 0 and line.startswith(f"{LINE} (it found none): computing on the CPU")


def test_the_cpu_may_be_asked_for(tmp_path):
    assert run(tmp_path, SILENT, "cpu") == ("cpu", [], 0)


def test_a_machine_without_cuda_is_told_nothing(tmp_path):
    assert run(tmp_path, None) == ("cpu", [], 0)


def test_a_gpu_that_must_be_there(tmp_path):
    out, (line,), status = run(tmp_path, SILENT, "cuda")
    assert (out, status) == ("", 1)
    assert line.startswith("error: JAX_PLATFORMS=cuda: JAX has no such device (") and "nvidia-smi" in line
