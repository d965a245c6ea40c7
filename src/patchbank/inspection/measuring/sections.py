"""A category's section of the page: its figures in words, its charts and its cases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from patchbank.datasets.masks import read_mask
from patchbank.datasets.samples import Sample
from patchbank.errors import DatasetError, ImageError
from patchbank.inspection.measuring.category_evaluation import CategoryEvaluation
from patchbank.inspection.measuring.extremes import JudgedCase
from patchbank.inspection.measuring.figures import FIGURES, Evaluation
from patchbank.inspection.verdicts import Judgement
from patchbank.memory.calibration import Thresholds
from patchbank.printable import counted
from patchbank.reports.evaluation_charts import write_evaluation_charts
from patchbank.reports.galleries import Gallery, ShownCase, charts_to_json, write_galleries
from patchbank.reports.page import FigureRow, KindRow, Section
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import decode

_REVIEWED = {"false_alarm_rate": "review_good", "recall": "review_anomalous"}


def write_pictures(folder: Path, found: CategoryEvaluation) -> dict[str, Any]:
    """Write a category's charts and galleries; return what the page shows of them, as JSON."""
    charts = write_evaluation_charts(
        folder,
        found.image,
        found.rates,
        found.thresholds,
        found.pixels,
        found.scores("good"),
        found.scores("anomalous"),
    )
    return {
        "map_threshold": found.map_threshold,
        "charts": charts_to_json(charts),
        "galleries": write_galleries(folder, _galleries(found), found.map_threshold),
    }


def _galleries(found: CategoryEvaluation) -> Iterator[Gallery]:
    extremes = found.extremes
    bit_depth = found.bank.settings.extractor.bit_depth
    missed = [item.verdict != "fail" for item in found.judged if item.sample.label == "anomalous"]
    failed = [item.verdict == "fail" for item in found.judged if item.sample.label == "good"]
    to_review = found.reviewed("anomalous")
    besides = f"; {to_review} of them {'goes' if to_review == 1 else 'go'} to review"
    yield Gallery(
        "worst",
        "Worst misses" if any(missed) else "Hardest to find",
        f"{sum(missed) or 'None'} of {counted(len(missed), 'anomalous image')} "
        f"{'does' if sum(missed) == 1 else 'do'} not fail{besides if to_review else ''}. These "
        "have the lowest scores.",
        _shown(extremes.lowest_anomalous, bit_depth),
    )
    yield Gallery(
        "good",
        "Worst false alarms" if any(failed) else "Nearest to a false alarm",
        f"{sum(failed) or 'None'} of {counted(len(failed), 'good image')} "
        f"{'fails' if sum(failed) == 1 else 'fail'}. These have the highest scores.",
        _shown(extremes.highest_good, bit_depth),
    )
    yield Gallery(
        "best",
        "Clearest finds",
        "Of each kind of defect, as far as there is room, the image with the highest score.",
        _shown(extremes.clearest(), bit_depth),
    )


def _shown(cases: Sequence[JudgedCase], bit_depth: int | None) -> Iterator[ShownCase]:
    return (shown_case(case.sample, case.judgement, bit_depth) for case in cases)


def shown_case(sample: Sample, judgement: Judgement, bit_depth: int | None) -> ShownCase:
    """Return what a gallery shows of a judged image; its file is read again."""
    pixels = decode(sample.path, bit_depth=bit_depth).pixels
    height, width = pixels.shape[:2]
    mask = None
    if sample.mask is not None:
        # Where it cannot be read, a remark says so.
        with contextlib.suppress(ImageError, DatasetError):
            mask = read_mask(sample.mask, height, width, image=sample.path)
    return ShownCase(
        name=sample.name,
        kind=sample.kind,
        verdict=judgement.verdict,
        score=judgement.score,
        rarity=judgement.rarity,
        pixels=pixels,
        anomaly_map=judgement.full_map(),
        mask=mask,
        region_peaks=[region.peak_score for region in judgement.regions],
        label=sample.label,
    )


def section_of(
    evaluation: Evaluation,
    folder: str,
    pictures: Mapping[str, Any],
    *,
    facts: Sequence[tuple[str, str]] = (),
    evidence: Mapping[str, Any] | None = None,
) -> Section:
    """Return the section of the page on a category whose pictures were written into `folder`."""
    known = evaluation.facts
    limits = Thresholds(known["pass_below"], known["fail_above"])
    return Section(
        name=evaluation.label,
        anchor=folder.rsplit("/", 1)[-1],
        folder=folder,
        facts=(
            (
                "Images",
                f"{known['train_images']} to learn from; judged: {known['test_good']} good, "
                f"{known['test_anomalous']} anomalous",
            ),
            ("Memory bank", counted(known["bank_size"], "patch", "patches")),
            ("Judged by", f"{limits.describe()}, from the train images only"),
            *facts,
        ),
        figures=figure_rows(evaluation),
        kinds=kind_rows(evaluation),
        remarks=evaluation.remarks,
        map_threshold=pictures["map_threshold"],
        charts=pictures["charts"],
        galleries=pictures["galleries"],
        evidence=evidence,
    )


def figure_rows(evaluation: Evaluation) -> list[FigureRow]:
    """Return the figures of a category in words, those that a user decides by first."""
    rows = []
    for figure in sorted(FIGURES, key=lambda figure: figure.share_of is None):
        value, meaning = evaluation.value(figure.key), figure.explanation
        if value is not None and figure.share_of is not None and figure.interval is not None:
            total = evaluation.facts[figure.share_of]
            low, high = evaluation.facts[figure.interval]
            if figure.key == "false_alarm_rate":
                requested = evaluation.facts["requested_false_alarm_rate"]
                agrees = "includes" if low <= requested <= high else "excludes"
                meaning += f" Requested: {100 * requested:g} %; the interval {agrees} it."
            # An earlier version's result that was kept has no review.
            review = evaluation.facts.get(_REVIEWED[figure.key], 0)
            if figure.key == "recall":
                meaning += (
                    f" Missed: {100 * (1 - value):.1f} % ({100 * (1 - high):.1f} to "
                    f"{100 * (1 - low):.1f} %)."
                )
                if review:
                    missed = total - round(value * total)
                    meaning += f" Of these {missed}, {review} go to review."
            elif review:
                meaning += f" Besides, {review} of {total} go to review."
            text = f"{100 * value:.1f} % ({round(value * total)} of {total})"
            rows.append(
                FigureRow(figure.title, text, f"{100 * low:.1f} to {100 * high:.1f} %", meaning)
            )
        elif value is not None:
            if figure.key == "average_precision":
                good, anomalous = evaluation.facts["test_good"], evaluation.facts["test_anomalous"]
                meaning += f" Chance is {anomalous / (good + anomalous):.3f} here."
            rows.append(FigureRow(figure.title, figure.text(value), "", meaning))
        elif figure.share_of is not None:
            rows.append(FigureRow(figure.title, "not known", "", "The test has no such image."))
    return rows


def kind_rows(evaluation: Evaluation) -> list[KindRow]:
    """Return the figures of each kind of defect as text; none where there is but one kind."""
    kinds = evaluation.facts.get("kinds", ())  # an average has none
    if len(kinds) < 2:
        return []
    by_key = {figure.key: figure for figure in FIGURES}
    rows = []
    for known in kinds:
        spread = known.get("spread", {})  # over several seeds
        failed, interval = str(known["failed"]), "-"
        if spread:
            failed = f"{known['failed']:.1f}"
        else:
            interval = "{:.1f} to {:.1f} %".format(*(100 * end for end in known["recall_interval"]))
        rows.append(
            KindRow(
                known["kind"],
                f"{failed} of {known['images']}",
                by_key["recall"].text(known["recall"], spread.get("recall")),
                interval,
                by_key["image_auroc"].text(known["image_auroc"], spread.get("image_auroc")),
            )
        )
    return rows


def extractor_in_words(settings: ExtractorSettings) -> str:
    """Return an extractor's settings for people."""
    return (
        f"{settings.backbone}, layers {', '.join(settings.layers)}, "
        f"{settings.input_in_words()}, {settings.precision}"
    )
