"""`patchbank review`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from patchbank.cli import options
from patchbank.cli.guard import EXIT_INTERRUPTED, guarded
from patchbank.cli.keys import check_terminal, read_key, read_line
from patchbank.cli.output import (
    answer,
    local_time,
    open_page,
    print_json,
    print_remarks,
    show_progress,
    talk,
)
from patchbank.errors import ParameterError
from patchbank.inspection.keeping.moments import moment
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted, printable
from patchbank.store.reviews import OpenInspection

if TYPE_CHECKING:
    from patchbank.inspection.living.review_report import ReviewReport
    from patchbank.inspection.living.review_session import ReviewSession

_STYLES = {"pass": "green", "review": "yellow", "fail": "red"}
_KEYS = "g good, d defect, s skip, u undo, q quit: "
# Of the labels, so many are proposed.
_LABELS = 6


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("review")(guarded(review_command))


def review_command(
    category: options.Category,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only inspections from this time on: yesterday, 3h."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the oldest ones, so many at most.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the inspections to review, and ask nothing.")
    ] = False,
    inspection: Annotated[
        int | None,
        typer.Option(metavar="ID", help="Answer to this inspection, with --answer."),
    ] = None,
    answer_: Annotated[
        str | None, typer.Option("--answer", metavar="ANSWER", help="good, defect or skip.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Of a defect, with --answer defect; for example crack.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Where the defect is, with --answer defect: in pixels or in per cent. May be "
            "repeated.  \\[default: where the bank finds it]",
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Add an image as good although it fails or is like a defect."),
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Undo the last answer, or that to --inspection.")
    ] = False,
    heatmaps: Annotated[
        Path | None,
        typer.Option(help="Keep the heatmaps in this folder.  \\[default: until the end]"),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Open each heatmap in the default viewer.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Answer to inspections that failed or need a review: good, defect or skip.

    A good image goes into the bank, a defect into the defect book. Both can be undone. With --list,
    with --inspection and --answer, or with --undo, no key is asked for.
    """
    from patchbank.inspection.living.review import Reviewer, review_queue
    from patchbank.inspection.living.review_session import ReviewSession

    if inspection is None and answer_ is not None:
        raise ParameterError("--answer: give --inspection ID too")
    if box and answer_ is None:
        raise ParameterError("--box: give --inspection ID and --answer defect too")
    if inspection is not None and (answer_ is None) == (not undo):
        raise ParameterError("--inspection: give --answer or --undo too")
    with ExitStack() as stack:
        workspace = stack.enter_context(Workspace())
        begin = None if since is None else moment(since, "since", now=datetime.now().astimezone())
        if list_:
            waiting = review_queue(workspace, category, since=begin, limit=limit)
            return _print_queue(category, waiting, json)
        if inspection is not None or undo:
            reviewer = Reviewer(workspace, category)
            with show_progress():
                reports = reviewer.keep_promises()
                if undo:
                    report = reviewer.undone(inspection)
                else:
                    assert inspection is not None
                    assert answer_ is not None
                    report = reviewer.answer(
                        workspace.database.reviews.inspection(category, inspection),
                        answer_,
                        label=label,
                        boxes=box or (),
                        confirmed=yes,
                    )
            _print_done([*reports, report], json)
            return 0
        if json:
            raise ParameterError("--json: give --list, or --inspection and --answer")
        check_terminal("use --list, or --inspection ID --answer ANSWER")
        folder = heatmaps or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="patchbank-review-"))
        )
        reviewer = Reviewer(workspace, category, pictures=folder)
        _print_done(reviewer.keep_promises(), json)
        waiting = review_queue(workspace, category, since=begin, limit=limit)
        session = stack.enter_context(ReviewSession(reviewer))
        labels = workspace.database.reviews.labels(category)
        dialogue = _Dialogue(session, waiting, labels, show=open_)
        try:
            dialogue.run()
        except KeyboardInterrupt:
            # Of other commands nothing remains then. The terminal is still on the line of keys.
            talk().print()
            talk().print(
                f"patchbank: interrupted; answers given before ({dialogue.answers}) stay; "
                "what they change is made now, or by the next review",
                markup=False,
            )
            return EXIT_INTERRUPTED
    return 0


class _Dialogue:
    """Shows one inspection after another and reads a key for each."""

    def __init__(
        self,
        session: ReviewSession,
        waiting: list[OpenInspection],
        labels: list[str],
        *,
        show: bool,
    ) -> None:
        self._session, self._waiting, self._labels = session, waiting, labels
        self._show = show
        self.answers = 0

    def run(self) -> None:
        number = 0
        while number < len(self._waiting):
            for inspection in self._waiting[number : number + 3]:
                self._session.prepare(inspection)
            step = self._ask_about(number)
            if step is None:
                break
            number += step
        left = len(self._waiting) - number
        if self._session.waiting:
            talk().print(f"changing the bank: {self._session.waiting} left", markup=False)
        _print_done(self._session.news(wait=True), json=False)
        answer().print(
            f"{counted(self.answers, 'answer')}; "
            + (
                f"{counted(left, 'inspection')} left to review"
                if left
                else "nothing left to review"
            ),
            markup=False,
        )

    def _ask_about(self, number: int) -> int | None:
        """Ask about an inspection; return how far to go on, or None at the end."""
        inspection = self._waiting[number]
        position = f"{number + 1} of {len(self._waiting)}"
        if self._is_answered(inspection, position):
            return 1
        judged = self._session.look(inspection)
        _print_done(self._session.news(), json=False)
        _print_inspection(position, inspection, judged)
        if self._show and judged is not None and judged.heatmap is not None:
            open_page(judged.heatmap)
        while True:
            key = self._ask(_KEYS)
            try:
                if key == "q":
                    return None
                if key == "s":
                    self._answer(inspection, "skip")
                    return 1
                if key == "g" and self._good(inspection, judged):
                    return 1
                if key == "d" and self._defect(inspection):
                    return 1
                if key == "u":
                    undone = self._session.undo().inspection_id
                    self.answers = max(0, self.answers - 1)
                    return self._back_to(undone, number)
            except ParameterError as error:
                if self._is_answered(inspection, position):
                    return 1
                talk().print(f"patchbank: {error}", markup=False, style="red")

    def _is_answered(self, inspection: OpenInspection, position: str) -> bool:
        """Whether somebody else answered meanwhile; then say so."""
        found = self._session.answered(inspection)
        if found is None:
            return False
        talk().print(
            f"{position}  {inspection.image_name}: {found.actor} answered {found.describe()} "
            "meanwhile",
            markup=False,
            style="yellow",
        )
        return True

    def _back_to(self, inspection_id: int, number: int) -> int:
        for back, inspection in enumerate(reversed(self._waiting[:number]), start=1):
            if inspection.inspection_id == inspection_id:
                return -back
        talk().print(f"undid the answer to inspection {inspection_id}", markup=False)
        return 0

    def _good(self, inspection: OpenInspection, judged: Inspection | None) -> bool:
        if judged is None:
            talk().print(
                "its image is gone and cannot be added to the bank; answer defect or skip",
                markup=False,
                style="yellow",
            )
            return False
        doubt = self._session.doubt(judged)
        if doubt is not None:
            if not self._session.knows_effect(inspection):
                talk().print("finding out what it would change", markup=False, style="dim")
            effect = self._session.effect(inspection)
            for line in [] if effect is None else effect.foreseen():
                answer().print(f"  {line}", markup=False)
            if self._ask(f"{doubt}; is it good? y yes, n no: ") != "y":
                return False
        self._answer(inspection, "good", confirmed=True, judged=judged)
        return True

    def _defect(self, inspection: OpenInspection) -> bool:
        known = f" ({', '.join(self._labels[:_LABELS])})" if self._labels else ""
        label = read_line(f"label{known}: ", self._labels)
        if not label:
            return False
        self._answer(inspection, "defect", label=label)
        if label not in self._labels:
            self._labels.insert(0, label)
        return True

    def _answer(
        self,
        inspection: OpenInspection,
        given: str,
        *,
        label: str | None = None,
        confirmed: bool = False,
        judged: Inspection | None = None,
    ) -> None:
        report = self._session.answer(
            inspection, given, label=label, confirmed=confirmed, judged=judged
        )
        self.answers += 1
        print_remarks(report.remarks)

    def _ask(self, prompt: str) -> str:
        talk().print(prompt, end="", markup=False)
        key = read_key()
        talk().print(key, markup=False)
        return key


def _print_inspection(position: str, inspection: OpenInspection, judged: Inspection | None) -> None:
    console = answer()
    console.print(
        Text(f"\n{position}  "),
        Text(inspection.verdict.upper(), style=f"{_STYLES[inspection.verdict]} bold"),
        inspection.image_name,
    )
    line = f"inspection {inspection.inspection_id} of {local_time(inspection.inspected_at)}"
    if judged is None or judged.score != inspection.score:
        line += f", score {inspection.score:.4g}, fails above {inspection.fail_above:.4g}"
    lines = [line]
    if judged is None:
        lines.append("its image was not kept, and its file was moved, changed or deleted")
    else:
        if judged.verdict != inspection.verdict:
            lines.append(
                f"verdict by version {judged.bank_version} of the bank: {judged.verdict.upper()}"
            )
        lines.append(judged.summary)
        lines += [f"at {judged.position}"] if judged.position else []
        lines += [str(judged.probable_defect)] if judged.probable_defect else []
        lines += [
            f"{match.similarity:.4f}  {match.name}  (defect: {match.describe()})"
            for match in judged.similar_defects
        ]
        lines += [f"{match.similarity:.4f}  {match.image}" for match in judged.similar]
        lines += [f"heatmap {judged.heatmap}"] if judged.heatmap else []
    for line in lines:
        console.print(f"  {printable(line)}", markup=False)


def _print_done(reports: list[ReviewReport], json: bool) -> None:
    for report in reports:
        if json:
            print_json(report.to_json())
            continue
        became = {
            "good": "added to the bank" if report.added else "not added to the bank",
            "defect": f"in the defect book as {report.label}" if report.added else "recorded",
            "skip": "skipped",
            "undone": "to review again",
        }[report.answer]
        answer().print(f"{report.image}: {became}", markup=False)
        print_remarks(report.remarks)


def _print_queue(category: str, waiting: list[OpenInspection], json: bool) -> int:
    from patchbank.inspection.living.review_report import queue_to_json

    for inspection in waiting:
        if json:
            print_json(queue_to_json(category, inspection))
            continue
        answer().print(
            Text(f"{inspection.inspection_id:>6}  "),
            Text(f"{local_time(inspection.inspected_at)}  "),
            Text(f"{inspection.verdict.upper():<6}", style=_STYLES[inspection.verdict]),
            Text(f"  {inspection.score:>6.4g} of {inspection.fail_above:<6.4g}  "),
            inspection.image_name,
        )
    talk().print(
        f"{counted(len(waiting), 'inspection')} to review" if waiting else "nothing to review",
        markup=False,
    )
    return 0
