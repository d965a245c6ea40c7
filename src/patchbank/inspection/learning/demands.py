"""What a set of good images must meet before a bank is learned from it, or calibrated by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from patchbank.errors import NoImagesError, ParameterError, TooManyRefusedError
from patchbank.inspection.verdicts import Refused
from patchbank.printable import counted

# The calibration leaves one image out, and something must remain.
FEWEST_IMAGES = 2
# Fewer say so little of what good looks like that somebody has to insist.
FEWEST_UNFORCED = 5
DEFAULT_MAX_REFUSED = "50%"
# From this share of images refused on, a remark counts them.
_REMARKABLE_SHARE = 0.1
# Images named in an error.
_NAMED = 3


@dataclass(frozen=True)
class Demands:
    """How few images may be used and how many refused; by default what cannot be done without.

    Attributes
    ----------
    fewest
        Images that must be usable.
    because
        Why so many, where `force` would do with fewer.
    max_refused
        Images that may be refused, as a number or a percentage; None for any number of them.
    """

    fewest: int = FEWEST_IMAGES
    because: str | None = None
    max_refused: int | str | None = None

    def __post_init__(self) -> None:
        if self.max_refused is not None:
            _most(self.max_refused, 0)

    def check(self, used: int, refused: Sequence[Refused], given: int) -> None:
        """Check what became of `given` images.

        Raises
        ------
        NoImagesError
            If too few were usable.
        TooManyRefusedError
            If too many were refused.
        """
        some = "; ".join(image.error.rstrip(".") for image in refused[:_NAMED])
        if used < self.fewest:
            reason = self.because or f"at least {FEWEST_IMAGES} good images are needed"
            remedy = f"add {self.fewest - used} more" + (", or --force" if self.because else "")
            raise NoImagesError(
                f"{counted(used, 'usable image')} of {given} given; {reason}; {remedy}"
                f"{': ' + some if some else ''}"
            )
        if self.max_refused is None or len(refused) <= _most(self.max_refused, given):
            return
        raise TooManyRefusedError(
            f"{len(refused)} of {counted(given, 'image')} refused, but only {self.max_refused} may "
            f"be; fix them, leave them out, or use --max-refused {len(refused)}: {some}"
        )


def demands_of(*, force: bool, max_refused: int | str) -> Demands:
    """Return what is asked of the images of a fit.

    Raises
    ------
    ParameterError
        If `max_refused` is neither a number nor a percentage.
    """
    if force:
        return Demands(max_refused=max_refused)
    return Demands(
        FEWEST_UNFORCED, f"at least {FEWEST_UNFORCED} good images are needed", max_refused
    )


def refused_remark(refused: int, given: int) -> list[str]:
    """Return a remark where a notable share of the images was refused."""
    if refused < 1 or refused < _REMARKABLE_SHARE * given:
        return []
    return [f"{refused} of {counted(given, 'image')} refused"]


def _most(max_refused: int | str, given: int) -> int:
    """Return how many of `given` images may be refused."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%|(\d+)", str(max_refused).strip())
    if found is None or (found[1] and float(found[1]) > 100):
        raise ParameterError(
            f"--max-refused {max_refused!r}: give a number of images, such as 20, or a "
            f"percentage, such as 10%"
        )
    return int(found[2]) if found[2] else int(float(found[1]) * given / 100 + 1e-9)
