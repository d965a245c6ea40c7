"""Small pictures of the parts that a study asks a person to look at."""

from __future__ import annotations

import base64
import contextlib

from patchbank.errors import ImageError
from patchbank.inspection.judging.matching import matching_settings_of
from patchbank.inspection.measuring.check_report import CheckReport
from patchbank.inspection.workspace import Workspace
from patchbank.vision.images import decode, thumbnail

# They are kept with the study's figures, of which a page asks for several studies at once.
_MOST = 24
_SIDE = 96


def small_pictures(workspace: Workspace, report: CheckReport) -> dict[str, str]:
    """Return pictures of the first conspicuous parts by image name: JPEG in base64.

    Parameters
    ----------
    report
        Of a study whose images are still where they were judged.
    """
    shown = [item.image for part in report.conspicuous for item in part.verdicts][:_MOST]
    if not shown:
        return {}
    stored = workspace.database.banks.version(report.category, report.bank_version, patches=False)
    settings, _ = matching_settings_of(stored)
    pictures = {}
    for image in shown:
        # A file that was removed since it was judged has no picture.
        with contextlib.suppress(ImageError):
            decoded = decode(
                image.source,
                limits=workspace.limits,
                name=image.name,
                bit_depth=settings.bit_depth,
            )
            pictures[image.name] = base64.b64encode(thumbnail(decoded.pixels, _SIDE)).decode()
    return pictures
