"""What the service counts, for Prometheus. No label has more values than are said here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from patchbank.errors import PatchbankError
from patchbank.inspection.judging.recording import LOSSES
from patchbank.inspection.living.drift import find_drift
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.line.sinks.configured import list_sinks
from patchbank.server.jobs import JobRunner
from patchbank.server.judging import Inspectors, JudgingPool

# Later ones are counted together under this name.
_MOST_CATEGORIES = 100
_OTHERS = "(others)"

_SHARES = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_DRIFT_SECONDS = 600.0
_DRIFT_DAYS = 7.0


class Metrics:
    """Counts what a service does. Thread-safe.

    Parameters
    ----------
    pool, inspectors, jobs
        Asked when the metrics are.
    """

    def __init__(
        self,
        workspace: Workspace,
        pool: JudgingPool,
        inspectors: Inspectors,
        jobs: JobRunner,
    ) -> None:
        self._registry = CollectorRegistry()
        self._categories: set[str] = set()
        self._drift = _Drift(workspace)
        self._inspections = Counter(
            "patchbank_inspections",
            "Inspections that were answered and recorded.",
            ("category", "verdict"),
            registry=self._registry,
        )
        self._scores = Histogram(
            "patchbank_score_of_limit",
            "Scores as shares of the limit above which an image fails.",
            ("category",),
            buckets=_SHARES,
            registry=self._registry,
        )
        self._stages = Histogram(
            "patchbank_stage_seconds",
            "Seconds of each stage of an inspection, and their sum as `total`.",
            ("stage",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._answers = Counter(
            "patchbank_answers",
            "Answers by route and status; 4xx and 5xx are errors.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._registry.register(_State(pool, inspectors, jobs, self._drift, self._label))
        self._registry.register(_Sinks(workspace))
        ProcessCollector(registry=self._registry)

    def inspected(self, inspection: Inspection) -> None:
        """Count an inspection."""
        category = self._label(inspection.category)
        self._inspections.labels(category, inspection.verdict).inc()
        limit = inspection.thresholds.fail_above
        if limit > 0:
            self._scores.labels(category).observe(inspection.score / limit)
        for stage, milliseconds in inspection.timings_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1e3)

    def answered(self, scope: Mapping[str, Any], status: int) -> None:
        """Count an answer: of a route by its pattern, of anything else together."""
        path = getattr(scope.get("route"), "path", None)
        if path is None:
            self._answers.labels("other", "other", status).inc()
        else:
            self._answers.labels(scope["method"], path, status).inc()

    def text(self) -> bytes:
        """Return all in Prometheus's text format."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Wait for what was begun."""
        self._drift.close()

    def _label(self, category: str) -> str:
        if category not in self._categories:
            if len(self._categories) >= _MOST_CATEGORIES:
                return _OTHERS
            self._categories.add(category)
        return category


class _State(Collector):
    """What is asked for when the metrics are."""

    def __init__(
        self,
        pool: JudgingPool,
        inspectors: Inspectors,
        jobs: JobRunner,
        drift: _Drift,
        label: Callable[[str], str],
    ) -> None:
        self._pool, self._inspectors, self._jobs = pool, inspectors, jobs
        self._drift, self._label = drift, label

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield _gauge("patchbank_images_taken", "Images being judged or waiting.", self._pool.taken)
        yield _gauge("patchbank_images_room", "How many there may be.", self._pool.room)
        yield CounterMetricFamily(
            "patchbank_images_refused",
            "Images that were refused because too many waited.",
            value=self._pool.refused,
        )
        yield _gauge("patchbank_jobs", "Jobs that run or wait here.", self._jobs.count)
        yield _gauge(
            "patchbank_banks_unusable",
            "Banks that could not judge when they were asked last.",
            len(self._inspectors.unusable),
        )
        ready = {
            name: inspector.ready.stored
            for name, inspector in self._inspectors.ready.items()
            if self._label(name) == name
        }
        for name, text, value in (
            ("version", "Version of the bank in memory.", lambda bank: bank.version),
            ("patches", "Patches of the bank.", lambda bank: bank.patch_count),
            ("references", "References of the bank.", lambda bank: len(bank.content.images)),
            (
                "created_timestamp_seconds",
                "When this version of the bank was made.",
                lambda bank: bank.created_at.timestamp(),
            ),
        ):
            yield _by_category(
                f"patchbank_bank_{name}",
                text,
                {category: value(bank) for category, bank in ready.items()},
            )
        yield _by_category(
            "patchbank_drift_changes",
            "Changes that `patchbank drift` finds in the last seven days, looked for every ten "
            "minutes at most.",
            self._drift.found(sorted(ready)),
        )


class _Sinks(Collector):
    """How the sinks fare, as the database has it; nothing while it is away."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        try:
            states = list_sinks(self._workspace)[:_MOST_CATEGORIES]
        except LOSSES:
            return
        for name, text, values in (
            (
                "patchbank_sink_waiting",
                "Inspections that are still to be sent to a sink.",
                {state.sink.name: state.waiting for state in states},
            ),
            (
                "patchbank_sink_failures",
                "How often in a row nothing could be sent to a sink.",
                {state.sink.name: state.failures for state in states},
            ),
        ):
            yield _by("sink", name, text, values)


class _Drift:
    """Looks for drift in a thread, when somebody asks and the last look is old."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._found: dict[str, int] = {}
        self._begun = float("-inf")
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False

    def found(self, categories: Sequence[str]) -> dict[str, int]:
        """Return how many changes were found last, as far as that is known."""
        with self._lock:
            alive = self._thread is not None and self._thread.is_alive()
            old = time.monotonic() - self._begun > _DRIFT_SECONDS
            if categories and old and not alive and not self._closing:
                self._begun = time.monotonic()
                self._thread = threading.Thread(
                    target=self._look, args=(categories,), name="patchbank-drift", daemon=True
                )
                self._thread.start()
            return {name: self._found[name] for name in categories if name in self._found}

    def _look(self, categories: Iterable[str]) -> None:
        for category in categories:
            if self._closing:
                return
            try:
                drift = find_drift(self._workspace, category, days=_DRIFT_DAYS, suggested=False)
            except PatchbankError:
                # It was removed, or the database is away: it is unknown.
                with self._lock:
                    self._found.pop(category, None)
            else:
                with self._lock:
                    self._found[category] = len(drift.changes)

    def close(self) -> None:
        """Wait for a look that was begun."""
        with self._lock:
            self._closing = True
        if self._thread is not None:
            self._thread.join()


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _by_category(name: str, text: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    return _by("category", name, text, values)


def _by(label: str, name: str, text: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
