"""A callback for Anomalib's engine, which saves the bank of its Patchcore at the end of a fit."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from anomalib.models import Patchcore
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from patchbank.contrib._anomalib_banks import (
    CheckedModel,
    ImportReport,
    checked_model,
    memory_bank_of,
)
from patchbank.contrib._anomalib_files import AnomalibFile
from patchbank.contrib._anomalib_running import read_running_model
from patchbank.errors import (
    CategoryExistsError,
    NotFittedError,
    ParameterError,
    PatchbankError,
    UnknownCategoryError,
)
from patchbank.inspection.workspace import Workspace
from patchbank.store.categories import checked_category_name
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.regions import Boxes, make_regions

_NO_SIZE: Final = (
    "SaveBank: Patchcore has no pre-processor with a transform, so nothing says to which size it "
    "resizes images; give it one, for example "
    "Patchcore(pre_processor=Patchcore.configure_pre_processor(image_size=(256, 256)))"
)


class SaveBank(Callback):  # type: ignore[misc, unused-ignore] # Lightning may not be installed
    """Save the bank of Anomalib's Patchcore in the database at the end of its fit.

    What would stop the bank from being saved is found before the training starts. If saving
    fails all the same, the trained model is kept as a checkpoint, which `patchbank import-anomalib`
    reads.

    Parameters
    ----------
    category
        The category that gets the bank.
    image_score
        ``"max"``, ``"top1percent"`` or ``"reweighted"``; by default Anomalib's own.
    ignore_mask, ignore_box, only_box
        What is not judged, as in `import_anomalib_file`.
    replace
        Whether to add the bank as the next version if the category already has one.
    home, database_url
        As in `patchbank.open`.

    Attributes
    ----------
    report
        The result of the last fit; None before.

    Examples
    --------
    >>> from anomalib.engine import Engine  # doctest: +SKIP
    >>> engine = Engine(callbacks=[SaveBank("leather")])  # doctest: +SKIP
    """

    def __init__(
        self,
        category: str,
        *,
        image_score: str | None = None,
        ignore_mask: ImageSource | None = None,
        ignore_box: Boxes | None = None,
        only_box: Boxes | None = None,
        replace: bool = False,
        home: str | Path | None = None,
        database_url: str | None = None,
    ) -> None:
        self.category = checked_category_name(category)
        self.report: ImportReport | None = None
        self._image_score = image_score
        self._regions = make_regions(ignore_mask, ignore_box, only_box)
        self._replace = replace
        self._home = None if home is None else Path(home)
        self._database_url = database_url

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check everything but the bank, which does not exist yet."""
        if not isinstance(pl_module, Patchcore):
            raise ParameterError(
                f"SaveBank: the model is {type(pl_module).__name__}, but only the memory bank of "
                "Patchcore can be saved; remove SaveBank from the callbacks, or train Patchcore"
            )
        if not trainer.is_global_zero:
            return
        found = read_running_model(pl_module)
        if "image_size" not in found.settings:
            raise ParameterError(_NO_SIZE)
        # Not kept open: the training may take longer than a connection lives.
        with self._workspace() as workspace:
            self._checked(workspace, found, None)
            self._check_category(workspace)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the bank."""
        if not trainer.is_global_zero:
            return
        try:
            self.report = report = self._save(pl_module)
        except PatchbankError as error:
            file = Path(trainer.default_root_dir) / "patchbank.ckpt"
            trainer.save_checkpoint(file)
            raise type(error)(
                f"{error}; the trained model is kept in {file}: when this is mended, run "
                f"patchbank import-anomalib {file} --category {self.category}"
            ) from error
        for remark in report.remarks:
            rank_zero_info(f"remark   {remark}")
        rank_zero_info(
            f"patchbank: saved {report.bank_size:,} patches as category {self.category}, version "
            f"{report.bank_version}; before it can judge, calibrate it on images of good parts: "
            f"patchbank calibrate {self.category} GOOD_IMAGES"
        )

    def _save(self, patchcore: Patchcore) -> ImportReport:
        found = read_running_model(patchcore)
        features = memory_bank_of(found)
        with self._workspace() as workspace:
            model = self._checked(workspace, found, features.shape[1])
            return model.save(workspace, self.category, features, replace=self._replace)

    def _checked(
        self, workspace: Workspace, found: AnomalibFile, dimension: int | None
    ) -> CheckedModel:
        return checked_model(
            workspace, found, dimension, image_score=self._image_score, regions=self._regions
        )

    def _check_category(self, workspace: Workspace) -> None:
        with suppress(UnknownCategoryError, NotFittedError):
            version = workspace.database.banks.active_version(self.category)
            if not self._replace:
                raise CategoryExistsError(
                    f"category {self.category!r} already has a bank, version {version}; use "
                    "another name, or SaveBank(..., replace=True) to make this its next version"
                )

    def _workspace(self) -> Workspace:
        return Workspace(home=self._home, database_url=self._database_url)
