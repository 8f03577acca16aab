"""Measurements taken one after the other, each in a process of its own, and stored as soon as it is there.

A measurement that fails, aborts its process or takes too long costs nothing but itself. The standard library alone is
needed here, so that the measurements find the device's memory free.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_SHORTEST_SECONDS = 5.0  # with less left of the budget nothing is begun
_LAST_WORDS = 3000  # characters kept of what a failed measurement wrote on stderr


@dataclasses.dataclass(frozen=True)
class Item:
    """One measurement.

    Attributes:
        name: what it is stored under.
        command: program and arguments; the last line of its stdout is the result as JSON.
        seconds: after which it is stopped.
    """

    name: str
    command: Sequence[str]
    seconds: float = 180.0


def measure(
    items: Sequence[Item],
    path: Path,
    *,
    seconds: float,
    settings: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> dict:
    """Takes the measurements in their order and stores the file anew after each.

    Those that the file already holds as done, under the same settings, are not taken again.

    Args:
        items: what to measure.
        path: JSON file to write.
        seconds: for all of them together; what does not fit is stored as left out.
        settings: what all of them have in common.
        environment: variables of their processes; by default this one's.
        say: told a line per item.

    Returns:
        What was stored: `settings` and `items`, by name: `status` ("done", "failed", "stopped" or "left out"),
        `seconds`, and `result` or `error`.
    """
    content: dict[str, Any] = {"settings": dict(settings), "items": _done(path, settings)}
    until = time.monotonic() + seconds
    for number, item in enumerate(items, start=1):
        if item.name in content["items"]:
            continue
        left = until - time.monotonic()
        if left < _SHORTEST_SECONDS:
            outcome = {"status": "left out", "seconds": 0.0, "error": f"the {seconds:.0f} s were over"}
        else:
            outcome = _take(item, min(item.seconds, left), environment)
        content["items"][item.name] = outcome
        _store(path, content)
        say(f"{number}/{len(items)}  {item.name}  {outcome['status']}, {outcome['seconds']:.1f} s  {_told(outcome)}")
    return content


def _done(path: Path, settings: Mapping[str, Any]) -> dict:
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text())
    if stored["settings"] != dict(settings):
        return {}
    return {name: outcome for name, outcome in stored["items"].items() if outcome["status"] == "done"}


def _take(item: Item, limit: float, environment: Mapping[str, str] | None) -> dict:
    start = time.monotonic()
    process = subprocess.Popen(
        item.command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # so that what it starts itself ends with it
    )
    status = "done"
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        status = "stopped"
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    outcome = {"status": status, "seconds": round(time.monotonic() - start, 2)}
    if status == "stopped":
        return outcome | {"error": f"stopped after {limit:.0f} s\n{err[-_LAST_WORDS:]}"}
    if process.returncode != 0:
        return outcome | {"status": "failed", "error": f"exit status {process.returncode}\n{err[-_LAST_WORDS:]}"}
    try:
        return outcome | {"result": json.loads(out.strip().splitlines()[-1])}
    except (IndexError, ValueError):
        return outcome | {"status": "failed", "error": f"its last line is no JSON: {out[-_LAST_WORDS:]!r}"}


def _store(path: Path, content: Mapping) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    beside.replace(path)


def _told(outcome: Mapping[str, Any]) -> str:
    """The numbers of a result, or the last line of an error."""
    if "error" in outcome:
        return outcome["error"].strip().splitlines()[-1][:200]
    numbers = {k: v for k, v in outcome["result"].items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return "  ".join(f"{k} {v:.4g}" for k, v in numbers.items())
