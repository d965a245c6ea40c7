"""Write the tables of the documents from the figures that are kept.

A table stands between ``<!-- bench:NAME -->`` and ``<!-- /bench -->``. One whose measurement has
not run here stays as it is.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.folder import FEATURES, MANY, SINGLY
from benchmarks.glance import GLANCES, Document, Row
from benchmarks.results import ROOT
from benchmarks.service import API, ONE
from benchmarks.service import MANY as MANY_OF_API
from benchmarks.timing import spread_text, three_digits

DOCUMENTS = tuple(
    ROOT / "docs" / name
    for name in ("performance.md", "evaluation.md", "drift.md", "reference-images.md")
)
GLANCE = "glance"
_HEADING = ("item", "figure", "reference", "ratio", "`python -m benchmarks`")
_COMMAND = re.compile(r"\| `(\w+)` \|$")


def update_documents(results: Mapping[str, Document], paths: Sequence[Path] = DOCUMENTS) -> None:
    """Write the tables of these results into the documents."""
    for path in paths:
        before = path.read_text()
        after = with_tables(before, results)
        if after != before:
            path.write_text(after)


def with_tables(text: str, results: Mapping[str, Document]) -> str:
    """Return a document with the tables between its markers written anew.

    Raises
    ------
    ValueError
        If a marker is not closed.
    """

    def rewritten(match: re.Match[str]) -> str:
        name, body = match["name"], match["body"]
        if "<!-- bench:" in body:
            raise ValueError(f"bench:{name} has no <!-- /bench --> of its own")
        if name == GLANCE:
            body = _glance(body, results)
        elif name in results:
            document = results[name]
            body = f"{provenance(document)}\n\n{TABLES[name](document['figures'])}\n"
        return f"<!-- bench:{name} -->\n{body}<!-- /bench -->"

    pattern = r"<!-- bench:(?P<name>\w+) -->\n(?P<body>.*?)<!-- /bench -->"
    found = re.findall(pattern, text, re.DOTALL)
    if len(found) != text.count("<!-- bench:"):
        raise ValueError("a <!-- bench:... --> is not closed by <!-- /bench -->")
    return re.sub(pattern, rewritten, text, flags=re.DOTALL)


def provenance(document: Document) -> str:
    """Return when and on what a measurement was made."""
    before, after = document["load before and after"]
    busy = "" if before is None else f", load {before:g} before and {after:g} after"
    return (
        f"`python -m benchmarks {document['measurement']}`, {document['date']}: "
        f"{' '.join(document['processor'].split())}, {document['cores']} cores, "
        f"{document['system']}{busy}."
    )


def table(heading: Row, rows: Iterable[Row]) -> str:
    """Return a Markdown table."""
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _glance(body: str, results: Mapping[str, Document]) -> str:
    """Return the summary; rows of measurements that have not run here are kept."""
    kept: dict[str, list[str]] = {}
    for line in body.splitlines():
        command = _COMMAND.search(line)
        if command:
            kept.setdefault(command[1], []).append(line)
    lines = table(_HEADING, []).splitlines()
    for name, rows_of in GLANCES.items():
        if name in results:
            note = _disturbance(results[name])
            rows = [
                (item, figure + note, *others, f"`{name}`")
                for item, figure, *others in rows_of(results[name]["figures"])
            ]
            lines += table(_HEADING, rows).splitlines()[2:]
        else:
            lines += kept.get(name, [])
    return "\n".join(lines) + "\n"


def _disturbance(document: Document) -> str:
    """Return a remark where the load was more than a measurement itself makes."""
    loads = document["load before and after"]
    if loads[0] is None or max(loads) <= 1.5 * document["cores"]:
        return ""
    return f" (disturbed: load {max(loads):g} on {document['cores']} cores)"


def _stages_table(figures: Document) -> str:
    inspected, fit = figures["inspect"], figures["fit"]
    inspection = table(
        ("one inspection, ms", "p50", "p95"),
        [
            (name, f"{each['p50']:.2f}", f"{each['p95']:.2f}")
            for name, each in inspected["stages_ms"].items()
        ],
    )
    network = spread_text(inspected["network alone, ms"], " ms")
    over = spread_text(inspected["times as long as the network alone"])
    state = "quiet" if inspected["quiet"] else "disturbed"
    learned = table(
        ("fit, s", "median (least to most)"),
        [(name, spread_text(each)) for name, each in fit["seconds"].items()],
    )
    features = spread_text(fit["times as long as features alone"])
    return (
        f"{inspection}\n\n{inspected['images']} images in {state} blocks. The network alone, "
        f"in turns with them: {network}; an inspection takes {over} times as long "
        f"(medians of blocks). "
        f"Processor time of an inspection, the database's included: "
        f"{inspected['processor_ms with the database']} ms.\n\n{learned}\n\n"
        f"{fit['images']} images, {fit['fits']} fits: {features} times as long as "
        f"`extract_many` alone. Peak memory {fit['peak_megabytes']:,} MB, of which "
        f"{fit['peak_megabytes before the fit']} MB were there before; the patch features "
        f"take {fit['patch features, megabytes']} MB."
    )


def _folder_table(figures: Document) -> str:
    works = table(
        ("", "images/s", "processor, ms an image", "of the database, ms", "quiet passes"),
        [
            (
                f"`{name}`" if name == MANY else name,
                spread_text(figures[name]["images_per_second"]),
                f"{figures[name]['processor_ms_per_image']:.2f}",
                f"{figures[name]['database_ms_per_image']:.2f}",
                f"{figures[name]['quiet_passes']} of {figures['passes']}",
            )
            for name in (MANY, SINGLY, FEATURES)
        ],
    )
    ratios = "; ".join(
        f"{name}: {spread_text(over)} times as long"
        for name, over in figures["times as long"].items()
    )
    return f"{works}\n\n{figures['images']} images a pass. {ratios}."


def _cold_table(figures: Document) -> str:
    once = figures["without caches, once"]
    rows = [
        (name, spread_text(seconds), f"{figures['processor_seconds'][name]:.3f}")
        for name, seconds in figures["seconds"].items()
    ]
    rows.append(
        (
            "patchbank inspect, nothing compiled (one run)",
            f"{once['seconds']:.2f}",
            f"{once['processor_seconds']:.2f}",
        )
    )
    ratios = "; ".join(
        f"{name}: {spread_text(over)} times as long"
        for name, over in figures["times as long"].items()
    )
    starts = f"{figures['starts']} starts each, in turns. {ratios}"
    return f"{table(('command', 'seconds', 'processor, s'), rows)}\n\n{starts}."


_GROWTH_NAMES = {
    "total": "fit, s",
    "features": "features, s",
    "coreset": "coreset, s",
    "calibration": "calibration, s",
    "database": "database, s",
    "processor": "processor time of the fit, s",
    "peak_megabytes": "peak memory of the fit, MB",
    "neighbours_ms": "neighbours of one image, ms",
    "inspection_ms": "one inspection, ms",
}


def _growth_table(figures: Document) -> str:
    sizes = [f"{size}" for size in figures["images"]]
    rows: list[Row] = [
        ("rows of the bank", *(f"{rows:,}" for rows in figures["bank_rows"]), "", ""),
        ("runs", *(f"{count}" for count in figures["runs"]), "", ""),
    ]
    for name, label in _GROWTH_NAMES.items():
        slopes = figures["exponents"][name]
        medians = (three_digits(figure["median"]) for figure in figures["figures"][name])
        rows.append((label, *medians, f"{slopes['all']:.2f}", f"{slopes['last doubling']:.2f}"))
    heading = ("reference images", *sizes, "exponent", "of the last doubling")
    streamed = any(figures["streamed"])
    note = "\n\nThe largest did not fit into half of the free memory: streamed." * streamed
    return table(heading, rows) + note


def _scores_table(figures: Document) -> str:
    parts = []
    for name in next(iter(next(iter(figures.values())).values())):
        variants = next(iter(figures.values()))
        rows = [
            (variant, *(_over_splits(each[variant][name]) for each in figures.values()))
            for variant in variants
        ]
        parts.append(table((name, *figures), rows))
    return "\n\n".join(parts)


def _over_splits(values: Sequence[float]) -> str:
    """Return the mean of the splits' shares, the least and the most."""
    mean, least, most = (
        f"{value:.3f}".removeprefix("0")
        for value in (statistics.fmean(values), min(values), max(values))
    )
    return f"{mean} ({least} to {most})"


def _labelled_table(figures: Document) -> str:
    cells, surfaces = figures["cells"], figures["surfaces (synthetic)"]
    numbers = list(next(iter(cells.values())))
    aurocs = table(
        ("image AUROC without → with labelled defects", *(f"{number}" for number in numbers)),
        [
            (kind, *(_change(values[number]["auroc"]) for number in numbers))
            for kind, values in cells.items()
        ],
    )
    rates = [name.removeprefix("recall ") for name in cells["mono"]["20"] if "recall" in name]
    kept = table(
        ("with 20 of them", *(f"{float(rate):.0%} asked for" for rate in rates)),
        [
            (f"{kind}: {name}", *(_change(values["20"][f"{name} {rate}"]) for rate in rates))
            for kind, values in cells.items()
            for name in ("false alarms", "recall")
        ],
    )
    left_out = table(
        ("surfaces (synthetic)", "image AUROC", "recall at 1 %", "at 5 %", "false alarms at 5 %"),
        [
            (
                name,
                *(
                    _change(values[key])
                    for key in ("auroc", "recall 0.01", "recall 0.05", "false alarms 0.05")
                ),
            )
            for name, values in surfaces.items()
        ],
    )
    return f"{aurocs}\n\n{kept}\n\n{left_out}"


def _change(values: Sequence[float]) -> str:
    """Return a share without and with what a measurement is about."""
    return " → ".join(f"{value:.3f}".removeprefix("0") for value in values)


def _drift_table(figures: Document) -> str:
    sets = [name for name in figures if name != "ideal"]
    changes = {change: None for name in sets for change in figures[name]["changes"]}
    found = table(
        ("change", *sets),
        [
            (change, *(_delay(figures[name]["changes"].get(change)) for name in sets))
            for change in changes
        ],
    )
    ideal = figures["ideal"]
    rows: list[Row] = [
        (f"{name}, {defects}", *_alarms(rate))
        for name in sets
        for defects, rate in figures[name]["unchanged"].items()
    ]
    unchanged = table(
        ("2,000 images without a change", "streams with an alarm", "stated at most",
         "images per alarm"),
        [("independent numbers", *_alarms(ideal)), *rows],
    )  # fmt: skip
    return (
        "Images after a change until it is found, in the median; in brackets, in how many streams "
        f"within 50:\n\n{found}\n\nNo figure: the surfaces are random textures, in which "
        f"a shift changes nothing.\n\n{unchanged}"
    )


def _delay(figures: Document | None) -> str:
    if figures is None:
        return ""
    return f"{figures['median']:.0f} ({100 * figures['within 50']:.0f} %)"


def _alarms(rate: Document) -> Row:
    images = rate["images per alarm"]
    return (
        f"{100 * rate['streams with an alarm']:.0f} %",
        f"{100 * rate['stated at most']:.0f} %",
        "none" if images is None else f"{images:,}",
    )


def _calibration_table(figures: Document) -> str:
    kept = [
        (
            kind,
            f"{row['requested']:.0%}",
            f"{row['mean']:.2%}",
            "{:.2%} to {:.2%}".format(*row["expected_95"]),
            f"{min(row['observed']):.2%} to {max(row['observed']):.2%}",
            f"{row['singles_within']} of {found['splits']}",
        )
        for kind, found in figures.items()
        for row in found["rates"]
    ]
    estimates = [
        (
            kind,
            str(row["references"]),
            f"{row['requested']:.1%}",
            f"{row['highest']:.2%}",
            f"{row['estimated']:.2%}",
            f"{row['least']:.2%} to {row['most']:.2%}",
            f"{row['within']} of {found['splits']}",
        )
        for kind, found in figures.items()
        for row in found["estimates"]
    ]
    return "\n\n".join(
        (
            table(
                (
                    "cells", "asked for", "observed, mean of the splits", "expected (95 %)",
                    "single splits", "of these in the 90 % range of one split",
                ),
                kept,
            ),
            "Beyond what can be promised, by the same splits:",
            table(
                (
                    "cells", "references", "asked for", "the highest score fails",
                    "the estimate fails", "single splits", "within its interval",
                ),
                estimates,
            ),
        )
    )  # fmt: skip


def _contamination_table(figures: Document) -> str:
    def percent(values: list[float]) -> str:
        return f"{statistics.mean(values):.1%}"

    rows = []
    for kind, shares in figures.items():
        for share, values in shares.items():
            count = round(float(share) * 200)
            rows.append(
                (
                    f"{kind}, {count} of 200 anomalous",
                    *(
                        f"{shown(values[name])} → {shown(values[f'{name}, screened'])}"
                        for name, shown in (
                            ("image AUROC", lambda some: f"{statistics.mean(some):.4f}"),
                            ("recall", percent),
                            ("false alarms", percent),
                        )
                    ),
                    percent(values["false alarms at most, screened"]),
                    f"{statistics.mean(values['anomalous references left out']):.1f}",
                    f"{statistics.mean(values['good references left out']):.1f}",
                )
            )
    return table(
        (
            "references", "image AUROC", "recall", "false alarms", "at most, if left out are good",
            "anomalous left out", "good left out",
        ),
        rows,
    )  # fmt: skip


def _service_table(figures: Document) -> str:
    single, many, load = figures["one client"], figures[MANY_OF_API], figures["load"]
    rows = [
        (name, "-", *(str(single[name][percent]) for percent in ("p50", "p95", "p99")))
        for name in (API, ONE)
    ]
    rows.append((MANY_OF_API, str(many["a second"]), "-", "-", "-"))
    rows.append(
        (
            f"service, {load['clients']} clients",
            f"{load['a second']} ({load['a second, by tenths']['least']} to "
            f"{load['a second, by tenths']['most']})",
            *(str(load[percent]) for percent in ("p50", "p95", "p99")),
        )
    )
    megabytes = load["megabytes after each tenth"]
    return "\n\n".join(
        (
            table(("", "a second", "p50, ms", "p95, ms", "p99, ms"), rows),
            f"{figures['references']} references. With one client, an answer takes "
            f"{spread_text(single['ms above'], ' ms')} more than the Python API, block by block. "
            f"{load['clients']} clients for {load['seconds']:g} s: {load['inspections']:,} "
            f"inspections, {load['answered and not in the database']} of them answered and not in "
            f"the database, {load['refused as busy']} refused as busy; "
            f"{load['processor ms an inspection']} ms of processor each, and "
            f"{load['of the clients']} ms of the clients. Memory of the service after each tenth: "
            f"{', '.join(f'{value:,}' for value in megabytes)} MB, "
            f"{load['growth after the first tenth, percent']} % more at the end than after the "
            f"first. The first inspection took {figures['first inspection, ms']} ms.",
        )
    )


def _pages_table(figures: Document) -> str:
    rows = [
        (name, spread_text(each["first content, ms"]), spread_text(each["loaded, ms"]))
        for name, each in figures["views"].items()
    ]
    return "\n\n".join(
        (
            table(("page", "first content, ms", "loaded, ms"), rows),
            "A verdict is on the Line page "
            f"{spread_text(figures['verdict'], ' ms')} after its inspection is answered.",
        )
    )


TABLES: dict[str, Callable[[Document], str]] = {
    "stages": _stages_table,
    "folder": _folder_table,
    "cold": _cold_table,
    "growth": _growth_table,
    "scores": _scores_table,
    "labelled": _labelled_table,
    "drift": _drift_table,
    "calibration": _calibration_table,
    "contamination": _contamination_table,
    "pages": _pages_table,
    "service": _service_table,
}
