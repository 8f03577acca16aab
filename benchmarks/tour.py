"""Executes docs/tour.ipynb, keeps its outputs, and prints how long it took.

    python -m benchmarks.tour

Needs nbclient and ipykernel, which `pip install -e '.[test]'` brings.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from afnet_jax.commands.command_line import command_parser, report_faults

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tour.ipynb"


def execute(out: Path = NOTEBOOK, *, small: bool = False) -> float:
    """Runs every cell from the first to the last, in a kernel of this Python, and writes the notebook with its outputs.

    Args:
        out: the notebook to write.
        small: with four subjects, two folds and two epochs, to try what the cells do and not how much is learned.

    Returns:
        Seconds.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
    """
    import nbclient
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if small:
        for cell in notebook.cells:
            cell.source = re.sub(r"(?<=train\.epochs = )\d+", "2", cell.source)
            cell.source = re.sub(r"(?<=synthetic_subjects = )\d+", "4", cell.source)
            cell.source = re.sub(r"(?<=protocol\.folds = )\d+", "2", cell.source)
    start = time.perf_counter()
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3", coalesce_streams=True).execute()
    seconds = time.perf_counter() - start
    for cell in notebook.cells:
        cell.metadata.clear()  # times of this execution
        if cell.cell_type == "code":
            cell.outputs = [_tidied(output) for output in cell.outputs]
    nbformat.write(notebook, out)
    return seconds


def _tidied(output):
    """Drops the states of progress bars and the temporary folder's place from what a cell printed."""
    if output.get("name") == "stderr":
        lines = [line for line in output.text.replace("\r", "\n").splitlines() if line and "%|" not in line]
        output.text = "".join(f"{line}\n" for line in lines)
    if "text" in output:
        output.text = re.sub(r"/\S*/afnet-tour-\w+/", "", output.text)
    return output


def main() -> int:
    command_parser(__doc__).parse_args()

    def run() -> None:
        seconds = execute()
        print(f"{NOTEBOOK}: {seconds:.0f} s, {NOTEBOOK.stat().st_size / 1000:.0f} kB")

    return report_faults(run)


if __name__ == "__main__":
    sys.exit(main())
