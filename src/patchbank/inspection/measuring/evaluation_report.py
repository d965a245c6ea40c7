"""How well the categories of a data set are learned, in one call from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from patchbank.errors import DatasetError
from patchbank.inspection.measuring.costs import Costs
from patchbank.inspection.measuring.evaluate import evaluate
from patchbank.inspection.measuring.figures import FIGURES, Evaluation, Failed
from patchbank.inspection.settings import FitOptions, make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.progress import Progress, silent


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationReport:
    """What `patchbank.evaluate` found.

    Attributes
    ----------
    categories
        The figures of each category by its name: `values`, such as ``values["image_auroc"]``;
        `facts`, such as ``facts["kinds"]``, the figures of each kind of defect; and `remarks`.
    average
        The mean of each figure over these categories.
    failed
        The categories that could not be evaluated, and why.
    """

    categories: dict[str, Evaluation]
    average: Evaluation
    failed: tuple[Failed, ...]

    def __repr__(self) -> str:
        count = counted(len(self.categories), "category", "categories")
        known = ", ".join(
            f"{figure.title} {figure.text(self.average.value(figure.key))}"
            for figure in FIGURES[:5]
            if self.average.value(figure.key) is not None
        )
        failed = f", {len(self.failed)} not evaluated" if self.failed else ""
        return f"<EvaluationReport of {count}{failed}{': ' if known else ''}{known}>"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return {
            "categories": [item.to_json() for item in self.categories.values()],
            "average": self.average.to_json(),
            "failed": [item.to_json() for item in self.failed],
        }


def evaluate_data_set(
    root: str | Path,
    categories: str | Sequence[str] | None = None,
    *,
    dataset: str = "mvtec",
    aupro_limit: float | None = None,
    labelled_defects: int = 0,
    costs: Costs | None = None,
    home: str | Path | None = None,
    progress: Progress = silent,
    **options: Unpack[FitOptions],
) -> EvaluationReport:
    """Fit on a data set's train images, judge its test images, and return the figures.

    Nothing is stored, no database is opened, and the threshold comes from the train images alone;
    the same as `patchbank evaluate`.

    Parameters
    ----------
    root
        Root folder of the data set.
    categories
        The categories to evaluate, or one; all by default.
    dataset
        How the folder is laid out, such as ``"mvtec"``, ``"visa"`` or ``"folder"``.
    aupro_limit
        False-positive rate up to which AUPRO is integrated; by default that of the data set.
    labelled_defects
        How many anomalous test images of each category to label, drawn with the option `seed` and
        left out of the figures: scores rise with likeness to them.
    costs
        What mistakes cost; ``facts["proposal"]`` of each category then is the false-alarm rate at
        which they cost least.
    home
        Folder of the compiled networks; by default ``PATCHBANK_HOME`` or the user's data folder.
    progress
        Called as the work advances.
    **options
        Settings of the banks, such as ``image_size`` or ``seed``: see `FitOptions`.

    Raises
    ------
    PatchbankError
        If the folder is not laid out as expected, a setting is wrong, or no category can be
        evaluated.
    """
    names = [categories] if isinstance(categories, str) else categories
    settings = make_fit_settings(**options)
    results: list[Evaluation] = []
    failed: list[Failed] = []
    with Workspace(home=None if home is None else Path(home)) as workspace:
        for result in evaluate(
            workspace,
            root,
            names,
            settings,
            dataset=dataset,
            aupro_limit=aupro_limit,
            labelled_defects=labelled_defects,
            costs=costs,
            progress=progress,
        ):
            if isinstance(result, Failed):
                failed.append(result)
            else:
                results.append(result)
    if not results:
        raise DatasetError("; ".join(f"{item.category}: {item.error}" for item in failed))
    *categories_done, mean = results  # the average comes last
    return EvaluationReport({item.category: item for item in categories_done}, mean, tuple(failed))
