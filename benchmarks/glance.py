"""The rows of "The figures at a glance": of each measurement its items, each with a reference."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.cold import RUNNING
from benchmarks.folder import FEATURES, MANY, SINGLY
from benchmarks.service import API, ONE
from benchmarks.service import MANY as MANY_OF_API
from benchmarks.timing import spread_text, three_digits

Document = Mapping[str, Any]
#: Cells of a table; in the summary they are item, figure, reference and ratio.
Row = tuple[str, ...]


def _coreset(figures: Document) -> list[Row]:
    rows: list[Row] = []
    for coreset in (figures["d = 152"], figures["d = 1536"]):
        item = (
            f"coreset, {coreset['rows']:,} x {coreset['dimensions']:,}, "
            f"{coreset['choices']:,} choices"
        )
        least, most = coreset["seconds, least and most"]
        figure = (
            f"{coreset['seconds']} s ({least} to {most}); as if all pairs were multiplied"
            f" {coreset['GFLOP/s as if all pairs were multiplied']} GFLOP/s,"
            f" {coreset['of sgemm, %']} % of NumPy's float32 product"
        )
        for key, reference in (
            ("numpy, extrapolated", "textbook loop in NumPy"),
            ("torch, projected, extrapolated", "loop in PyTorch as in Anomalib"),
        ):
            if key in coreset:
                other = coreset[key]
                least, most = other["times as long, least and most"]
                text = _as_quick({"median": other["times as long"], "least": least, "most": most})
                seconds = f"{reference}, {other['seconds']:,.0f} s extrapolated"
                rows.append((item, figure, seconds, text))
    return rows


def _neighbours(figures: Document) -> list[Row]:
    rows: list[Row] = []
    for name, bank in figures.items():
        images = bank["images"]
        times = [image["times"]["patchbank"]["wall_ms"] for image in images]
        full = [image["pairs computed in full, %"] for image in images]
        rows_of_bank, dimensions = bank["bank"]
        figure = (
            f"{_range(times)} ms for {len(images)} images; {_range(full)} % of the pairs in full"
        )
        for reference in images[0]["times as long as patchbank"]:
            each = [image["times as long as patchbank"][reference] for image in images]
            middle = round(statistics.median(found["median"] for found in each), 2)
            text = _as_quick(
                {
                    "median": middle,
                    "least": min(found["least"] for found in each),
                    "most": max(found["most"] for found in each),
                }
            )
            item = (
                f"neighbours of an image's patches, {rows_of_bank:,} x {dimensions:,}, "
                f"{name.split(',')[0]}"
            )
            rows.append((item, figure, reference, text))
    return rows


def _range(values: list[float]) -> str:
    return f"{three_digits(min(values))} to {three_digits(max(values))}"


def _as_quick(times: Document) -> str:
    return f"{spread_text(times)} times as quick"


def _as_long(times: Document) -> str:
    return f"{spread_text(times)} times as long"


def _extractor(figures: Document) -> list[Row]:
    rows: list[Row] = []
    for name, over in figures["times as long as the network alone"].items():
        whole, network = figures["extract_one_ms"][name], figures["network_ms"][name]
        reference = f"network alone, {spread_text(network, ' ms')}"
        rows.append(
            (
                f"features of one image, {name}",
                spread_text(whole, " ms"),
                reference,
                _as_long(over),
            )
        )
    for name, stream in figures["extract_many"].items():
        if name != "f32":
            single = figures["extract_many"]["f32"]["images_per_second"]
            rows.append(
                (
                    f"features of many images, {name}",
                    spread_text(stream["images_per_second"], " images/s"),
                    f"f32, {spread_text(single, ' images/s')}",
                    _as_long(stream["times as long as f32"]),
                )
            )
    return rows


def _stages(figures: Document) -> list[Row]:
    fit, inspection = figures["fit"], figures["inspect"]
    total = inspection["stages_ms"]["total"]
    return [
        (
            f"fit of {fit['images']} images",
            spread_text(fit["seconds"]["total"], " s"),
            f"their features alone, {spread_text(fit['features alone, seconds'], ' s')}",
            _as_long(fit["times as long as features alone"]),
        ),
        (
            "its peak memory",
            f"{fit['peak_megabytes']:,} MB",
            f"the patch features, {fit['patch features, megabytes']:,} MB",
            f"{fit['peak over patch features']} times, one run",
        ),
        (
            f"one inspection, warm, {inspection['images']} images",
            f"p50 {total['p50']} ms, p95 {total['p95']} ms",
            f"network alone, {spread_text(inspection['network alone, ms'], ' ms')}",
            _as_long(inspection["times as long as the network alone"]),
        ),
    ]


def _folder(figures: Document) -> list[Row]:
    return [
        (
            f"folder of {figures['images']} images",
            spread_text(figures[MANY]["images_per_second"], " images/s"),
            f"{other}, {spread_text(figures[other]['images_per_second'], ' images/s')}",
            text,
        )
        for other, text in (
            (FEATURES, _as_long(figures["times as long"][f"{MANY} / {FEATURES}"])),
            (SINGLY, _as_quick(figures["times as long"][f"{SINGLY} / {MANY}"])),
        )
    ]


def _cold(figures: Document) -> list[Row]:
    rows: list[Row] = []
    for pair, over in figures["times as long"].items():
        other = pair.removeprefix(f"{RUNNING} / ")
        rows.append(
            (
                RUNNING.replace("patchbank inspect", "`patchbank inspect`, whole command"),
                spread_text(figures["seconds"][RUNNING], " s"),
                f"`{other}`, {spread_text(figures['seconds'][other], ' s')}",
                _as_long(over),
            )
        )
    return rows


def _growth(figures: Document) -> list[Row]:
    last, slopes = figures["images"][-1], figures["exponents"]
    first = figures["images"].index(200)
    rows: list[Row] = []
    for name, item, unit in (
        ("total", f"fit of {last} images", " s"),
        ("peak_megabytes", f"peak memory of a fit of {last} images", " MB"),
        ("inspection_ms", f"one inspection by a bank of {last} images", " ms"),
    ):
        values = [figure["median"] for figure in figures["figures"][name]]
        over = values[-1] / values[first]
        rows.append(
            (
                item,
                f"{three_digits(values[-1])}{unit}; grows as n^{slopes[name]['all']:.2f}",
                f"200 images, {three_digits(values[first])}{unit}",
                f"{three_digits(over)} times, {last / 200:g} times the images",
            )
        )
    return rows


def _large_fit(figures: Document) -> list[Row]:
    whole, streamed = figures["3,000 images, exact"], figures["3,000 images, streamed"]
    return [
        (
            f"peak memory of 3,000 images under {streamed['memory_limit']}",
            f"{streamed['peak_megabytes']:,} MB",
            f"exact fit, {whole['peak_megabytes']:,} MB",
            f"{streamed['peak_megabytes'] / whole['peak_megabytes']:.2f} times, one run",
        )
    ]


def _service(figures: Document) -> list[Row]:
    single, load, many = figures["one client"], figures["load"], figures[MANY_OF_API]
    return [
        (
            "inspection over HTTP, 1 client",
            f"p50 {single[ONE]['p50']} ms; {spread_text(single['ms above'], ' ms')} above the API",
            f"{API}, p50 {single[API]['p50']} ms",
            _as_long(single["times as long"]),
        ),
        (
            f"inspections over HTTP, {load['clients']} clients",
            f"{load['a second']} a second; p50 {load['p50']} ms, p99 {load['p99']} ms",
            f"{MANY_OF_API}, {many['a second']} a second",
            f"{load['a second'] / many['a second']:.2f} times as many",
        ),
    ]


GLANCES: dict[str, Callable[[Document], list[Row]]] = {
    "coreset": _coreset,
    "neighbours": _neighbours,
    "extractor": _extractor,
    "stages": _stages,
    "folder": _folder,
    "cold": _cold,
    "growth": _growth,
    "large_fit": _large_fit,
    "service": _service,
}
