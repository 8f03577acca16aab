"""Tables I to IV of the paper with our numbers beside, as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence

from afnet_jax.analysis import paper
from afnet_jax.analysis.run import Run
from afnet_jax.analysis.significance import Comparison, p_value
from afnet_jax.html_page import counted
from afnet_jax.models.architecture import VARIANTS
from afnet_jax.models.parameters import size, sizes
from afnet_jax.scans.databases import title_of
from afnet_jax.training.progress import duration

_NOTHING = "–"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        name: of its files, such as "table_2".
        title: what it shows.
        columns: heads.
        rows: as many cells each; "–" where there is nothing.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_markdown(self) -> str:
        """A pipe table; the first column to the left, the others to the right."""
        marks = ["---"] + ["---:"] * (len(self.columns) - 1)
        lines = [self.columns, tuple(marks), *self.rows]
        return f"**{self.title}**\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

    def to_latex(self) -> str:
        """A table environment that needs no package."""
        lines = [" & ".join(map(_latex, line)) + r" \\" for line in (self.columns, *self.rows)]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{_latex(self.title)}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
                r"\hline",
                lines[0],
                r"\hline",
                *lines[1:],
                r"\hline",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def to_text(self) -> str:
        """Lines for a terminal; the first column to the left, the others to the right."""
        lines = (self.columns, *self.rows)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(_padded(line, widths)).rstrip() for line in lines)

    def to_csv(self) -> str:
        """Comma-separated, with heads; empty where there is nothing."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if cell == _NOTHING else cell.replace("−", "-") for cell in row] for row in self.rows])
        return file.getvalue()


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.rjust(w) if place else cell.ljust(w) for place, (cell, w) in enumerate(zip(line, widths, strict=True))]


def _latex(text: str) -> str:
    marks = {"%": r"\%", "_": r"\_", "&": r"\&", "±": r"$\pm$", "–": "--", "−": "$-$", "<": "$<$"}
    for plain, marked in marks.items():
        text = text.replace(plain, marked)
    return text


def percent(value: float | None) -> str:
    """87.654 -> "87.65"."""
    return _NOTHING if value is None else f"{value:.2f}"


def accuracy(run: Run | None) -> str:
    """Mean and sample standard deviation over rounds, %: "87.65 ± 0.41"; only the mean where there is one round."""
    if run is None or run.summary["accuracy"]["mean"] is None:
        return _NOTHING
    found = run.summary["accuracy"]
    mean = f"{100 * found['mean']:.2f}"
    text = f"{mean} ± {100 * found['std']:.2f}" if len(found["per_round"]) > 1 else mean
    return text if run.summary["complete"] else f"{text} (incomplete)"


def _beside_paper(name: str, title: str, rows: Sequence[paper.Row], runs: Mapping[str, Run], database: str) -> Table:
    ours = [runs.get(row.variant) if row.variant else None for row in rows]
    return Table(
        name,
        title,
        ("Method", *(f"Paper, {each.title}" for each in paper.STUDIED), f"Here, {title_of(database)}", "Here − paper"),
        tuple(
            (
                row.name,
                *(percent(row.accuracy(each.name)) for each in paper.STUDIED),
                accuracy(run),
                _gap(run, row.accuracy(database)),
            )
            for row, run in zip(rows, ours, strict=True)
        ),
    )


def _gap(run: Run | None, expected: float | None) -> str:
    if run is None or expected is None or run.summary["accuracy"]["mean"] is None:
        return _NOTHING
    return signed(100 * run.summary["accuracy"]["mean"] - expected)


def signed(value: float) -> str:
    """-1.234 -> "−1.23"."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")  # + 0.0: no minus before zero


def paper_tables(runs: Mapping[str, Run], database: str) -> list[Table]:
    """Tables I to IV and the accuracies of Fig. 5; cells of variants that are not among the runs stay empty.

    Args:
        runs: by variant.
        database: that they were run on.
    """
    return [
        _beside_paper("table_1", "Table I: accuracy of the methods, %", paper.TABLE_I, runs, database),
        _beside_paper("table_2", "Table II: fusion strategies without MA, %", paper.TABLE_II, runs, database),
        _beside_paper("table_3", "Table III: the MA module, %", paper.TABLE_III, runs, database),
        _table_iv(),
        _beside_paper("fig_5", "Fig. 5: fusion positions, %", paper.FIG_5, runs, database),
    ]


def _table_iv() -> Table:
    parts = sizes(VARIANTS["afnet"])
    here = {
        "two trunks, no head": parts["trunks"],
        "without MA": size(VARIANTS["no_ma"]),
        "without IWC": size(VARIANTS["no_iwc"]),
        "IWC alone": parts["importance_weights"],
        "MA alone": parts["mask_attention"],
        "AFNet-M": size(VARIANTS["afnet"]),
    }
    peers = [(name, percent(mib), _NOTHING, _NOTHING) for name, mib in paper.TABLE_IV_PEERS.items()]
    ours = [
        (name, percent(mib), percent(here[name].mib_per_call), percent(here[name].mib))
        for name, mib in paper.TABLE_IV.items()
    ]
    return Table(
        "table_4",
        "Table IV: parameters, MiB of float32",
        ("Model", "Paper", "Here, counted per call", "Here, counted once"),
        (*peers, *ours),
    )


def variants_table(runs: Mapping[str, Run], comparisons: Mapping[str, Comparison]) -> Table:
    """Every variant's size, time and accuracy, and how it differs from AFNet-M.

    Args:
        runs: by variant.
        comparisons: AFNet-M (`one`) beside each of the others.
    """
    rows = []
    for variant, run in runs.items():
        size, seconds, compared = run.summary["parameters"], run.summary["seconds"], comparisons.get(variant)
        against = (_NOTHING,) * 3
        if compared is not None:
            low, high = compared.t_test.interval
            tested = not math.isnan(compared.t_test.p)  # a single fold in all has no variance to test by
            against = (
                signed(-100 * compared.difference),
                f"{signed(-100 * high)} to {signed(-100 * low)}" if tested else _NOTHING,
                p_value(compared.t_test.p) if tested else _NOTHING,
            )
        rows.append(
            (variant, f"{size['count']:,}", percent(size["mib"]), duration(seconds["total"]), accuracy(run), *against)
        )
    return Table(
        "variants",
        "Variants: parameters, time and accuracy; differences from AFNet-M by the corrected resampled t-test",
        ("Variant", "Parameters", "MiB", "Time", "Accuracy, %", "− AFNet-M", "95 % interval", "p"),
        tuple(rows),
    )


def baselines_table(baselines: dict, variant: str) -> Table:
    """The network beside linear models, and how much more often it is right than each.

    Args:
        baselines: content of baselines.json.
        variant: of the network.
    """
    rows = [(f"network ({variant})", f"{100 * baselines['network']:.2f}", *[_NOTHING] * 3)]
    models = {f"linear, {name}": model for name, model in baselines["models"].items()}
    if joint := baselines.get("together"):
        models["network and landmarks"] = joint
    for name, model in models.items():
        if "reason" in model:
            rows.append((name, *[_NOTHING] * 4))
            continue
        interval, p = model["t_test"]["interval"], model["t_test"]["p"]
        rows.append(
            (
                name,
                f"{100 * model['accuracy']['mean']:.2f}",
                signed(100 * model["difference"]),
                _NOTHING if interval is None else f"{signed(100 * interval[0])} to {signed(100 * interval[1])}",
                _NOTHING if p is None else p_value(p),
            )
        )
    rounds = len(baselines["rounds"])
    return Table(
        "baselines",
        f"The network beside logistic regression on the same splits, {counted(rounds, 'round')}; "
        "differences by the corrected resampled t-test",
        ("Model", "Accuracy, %", "Network − it", "95 % interval", "p"),
        tuple(rows),
    )
