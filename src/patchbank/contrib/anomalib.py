"""Import a PatchCore memory bank trained with Anomalib; neither Anomalib nor PyTorch is needed.

The bank does not say which images its rows came from, nor has it a threshold that was chosen
from images of good parts alone: run `patchbank calibrate` before judging.

`SaveBank` does the same inside a running Anomalib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbank.contrib._anomalib_banks import ImportReport, checked_model, memory_bank_of
from patchbank.contrib._anomalib_files import read_anomalib_file
from patchbank.inspection.workspace import Workspace
from patchbank.store.categories import checked_category_name
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.regions import Boxes, make_regions

if TYPE_CHECKING:
    from patchbank.contrib._anomalib_callback import SaveBank

__all__ = ["ImportReport", "SaveBank", "import_anomalib", "import_anomalib_file"]


def __getattr__(name: str) -> Any:
    # Its base class is Lightning's, which only an environment with Anomalib has.
    if name == "SaveBank":
        try:
            from patchbank.contrib._anomalib_callback import SaveBank
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "SaveBank runs inside Anomalib 2, which this environment lacks "
                f"({error}); install anomalib here, or import a file of Anomalib with "
                "patchbank.import_anomalib",
                name=error.name,
            ) from error
        return SaveBank
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def import_anomalib_file(
    workspace: Workspace,
    path: Path,
    category: str,
    *,
    backbone: str | None = None,
    layers: str | Sequence[str] | None = None,
    image_size: int | None = None,
    center_crop: int | None = None,
    image_score: str | None = None,
    assume_defaults: bool = False,
    ignore_mask: ImageSource | None = None,
    ignore_box: Boxes | None = None,
    only_box: Boxes | None = None,
    replace: bool = False,
) -> ImportReport:
    """Import the memory bank in an Anomalib file as the bank of a category.

    Parameters
    ----------
    path
        A memory bank saved with ``torch.save``, a Lightning checkpoint, or a model exported to
        torch.
    backbone, layers, image_size, center_crop
        What the bank was made with, if the file does not say; a `center_crop` of 0 means none.
    image_score
        ``"max"``, ``"top1percent"`` or ``"reweighted"``; by default Anomalib's own.
    assume_defaults
        Whether to assume Anomalib's defaults for what neither the file nor an option says.
    ignore_mask, ignore_box, only_box
        What is not judged, as in `Bank.fit`; boxes in per cent, as the images' size is not known.
        The bank holds patches of it all the same.
    replace
        Whether to add the bank as the next version if the category already has one.

    Raises
    ------
    WeightsError, BankFileError
        If the file is damaged or hostile, contains no bank, or its bank cannot be reproduced.
    ParameterError
        If an option contradicts the file, or neither says what the bank was made with.
    ExtractorMismatchError
        If this installation computes features other than those in the bank.
    CategoryExistsError
        If the category already has a bank and `replace` is false.
    """
    category = checked_category_name(category)
    found = read_anomalib_file(path, workspace.largest_bank_file)
    features = memory_bank_of(found)
    model = checked_model(
        workspace,
        found,
        features.shape[1],
        backbone=backbone,
        layers=layers,
        image_size=image_size,
        center_crop=center_crop,
        image_score=image_score,
        assume_defaults=assume_defaults,
        regions=make_regions(ignore_mask, ignore_box, only_box),
    )
    return model.save(workspace, category, features, replace=replace)


def import_anomalib(
    file: str | Path,
    category: str,
    *,
    backbone: str | None = None,
    layers: str | Sequence[str] | None = None,
    image_size: int | None = None,
    center_crop: int | None = None,
    image_score: str | None = None,
    assume_defaults: bool = False,
    ignore_mask: ImageSource | None = None,
    ignore_box: Boxes | None = None,
    only_box: Boxes | None = None,
    replace: bool = False,
    home: str | Path | None = None,
    database_url: str | None = None,
) -> ImportReport:
    """Import the memory bank in an Anomalib file as a category's; see `import_anomalib_file`.

    Then open the category with `patchbank.open` and call `calibrate` with images of good parts.

    Parameters
    ----------
    home, database_url
        As in `patchbank.open`.
    """
    with Workspace(
        home=None if home is None else Path(home), database_url=database_url
    ) as workspace:
        return import_anomalib_file(
            workspace,
            Path(file),
            category,
            backbone=backbone,
            layers=layers,
            image_size=image_size,
            center_crop=center_crop,
            image_score=image_score,
            assume_defaults=assume_defaults,
            ignore_mask=ignore_mask,
            ignore_box=ignore_box,
            only_box=only_box,
            replace=replace,
        )
