"""Work of minutes that the service does for a client: how far it is, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from psycopg.types.json import Jsonb

from patchbank.actors import current_actor
from patchbank.errors import JobEndedError, NotFoundError
from patchbank.spelling import composed
from patchbank.store import queries
from patchbank.store.queries import as_bigint

if TYPE_CHECKING:
    from patchbank.store.sessions import Sessions

State = Literal["waiting", "running", "done", "failed", "cancelled", "interrupted"]
JobKind = Literal["fit", "calibrate", "evaluate", "import-anomalib", "check"]
#: Whose end is a new version of a bank.
MAKE_BANKS: tuple[JobKind, ...] = ("fit", "calibrate", "import-anomalib")
#: States that change no more.
ENDED = ("done", "failed", "cancelled", "interrupted")

#: After that, the service of a job is taken for ended.
SILENCE_SECONDS = 15.0
_KEEP_DAYS = 30
_INTERRUPTED = (
    "the service ended before the job did; start it again unless the history has its version"
)


class Job(NamedTuple):
    """A job.

    Attributes
    ----------
    kind
        What it does.
    stage, done, total
        What it is at, and how much of that is done.
    stage_seconds
        How long it has been at that.
    error
        Why it failed or was interrupted, in one line.
    result
        What it made, as JSON.
    """

    job_id: int
    kind: JobKind
    category: str
    created_by: str
    state: State
    stage: str | None
    done: int
    total: int
    stage_seconds: float | None
    error: str | None
    result: dict[str, Any] | None
    created_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the service gives."""
        rate = self.done / self.stage_seconds if self.stage_seconds and self.done else None
        times = {
            name: None if moment is None else moment.astimezone(UTC).isoformat()
            for name, moment in (
                ("created_at", self.created_at),
                ("begun_at", self.begun_at),
                ("ended_at", self.ended_at),
            )
        }
        running = self.state == "running"
        return {
            "job_id": self.job_id,
            "kind": self.kind,
            "category": self.category,
            "created_by": self.created_by,
            "state": self.state,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "rate": rate if running else None,
            "seconds_left": (self.total - self.done) / rate if rate and running else None,
            "error": _INTERRUPTED if self.state == "interrupted" else self.error,
            "result": self.result,
            **times,
        }


class Jobs:
    """The jobs of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("jobs")

    def create(self, kind: JobKind, category: str) -> int:
        """Return the number of a new job that waits; those of last month are forgotten."""
        parameters = {
            "kind": kind,
            "category": composed(category),
            "created_by": current_actor(),
        }
        with self._sessions.statement() as connection:
            row = connection.execute(self._queries["create"], parameters).fetchone()
            connection.execute(self._queries["forget"], {"days": _KEEP_DAYS})
        assert row is not None
        return int(row[0])

    def get(self, job_id: int) -> Job:
        """Return a job.

        Raises
        ------
        NotFoundError
            If no job has this number.
        """
        parameters = {"job_id": as_bigint(job_id), "silence": SILENCE_SECONDS}
        with self._sessions.statement() as connection:
            row = connection.execute(self._queries["get"], parameters).fetchone()
        if row is None:
            raise NotFoundError(f"there is no job {job_id}; jobs are kept for {_KEEP_DAYS} days")
        return Job(*row)

    def page(
        self, category: str | None, limit: int, before: int | None, kind: JobKind | None = None
    ) -> list[Job]:
        """Return jobs, newest first, of a category or of all, of a kind or of all."""
        parameters = {
            "category": category,
            "kind": kind,
            "limit": limit,
            "before": before,
            "silence": SILENCE_SECONDS,
        }
        with self._sessions.statement() as connection:
            rows = connection.execute(self._queries["page"], parameters).fetchall()
        return [Job(*row) for row in rows]

    def begin(self, job_id: int) -> None:
        """Record that a job runs."""
        self._change("begin", job_id)

    def report(self, job_id: int, stage: str, done: int, total: int) -> None:
        """Record how far a job is."""
        self._change("report", job_id, stage=stage, done=done, total=total)

    def keep_alive(self, job_ids: Sequence[int]) -> set[int]:
        """Record that the service of these jobs is there; return those to be cancelled."""
        with self._sessions.statement() as connection:
            rows = connection.execute(
                self._queries["keep_alive"], {"job_ids": list(job_ids)}
            ).fetchall()
        return {job_id for job_id, cancelled in rows if cancelled}

    def finish(
        self,
        job_id: int,
        state: State,
        error: str | None = None,
        result: dict[str, Any] | None = None,
    ) -> None:
        """Record how a job ended."""
        document = None if result is None else Jsonb(result)
        self._change("finish", job_id, state=state, error=error, result=document)

    def cancel(self, job_id: int) -> None:
        """Ask the service of a job to end it.

        Raises
        ------
        NotFoundError, JobEndedError
            If there is no such job, or it has ended.
        """
        parameters = {"job_id": as_bigint(job_id), "silence": SILENCE_SECONDS}
        with self._sessions.statement() as connection:
            row = connection.execute(self._queries["cancel"], parameters).fetchone()
        if row is None:
            raise JobEndedError(
                f"job {job_id} is {self.get(job_id).state}: there is nothing to cancel"
            )

    def _change(self, statement: str, job_id: int, **parameters: Any) -> None:
        with self._sessions.statement() as connection:
            connection.execute(self._queries[statement], {"job_id": job_id, **parameters})
