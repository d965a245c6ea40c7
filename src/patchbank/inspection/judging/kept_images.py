"""Which images are kept with their inspections, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from patchbank.errors import ImageError
from patchbank.inspection.verdicts import Inspection
from patchbank.settings import Settings
from patchbank.store.inspection_images import ImageContent
from patchbank.vision.decoded_image import DecodedImage, ImageLimits, ImageSource
from patchbank.vision.lossless import bytes_of, png_of


class ImageKeeper:
    """Keeps images as the settings say: the same bytes, or the same pixels of one in memory."""

    def __init__(self, settings: Settings, limits: ImageLimits) -> None:
        self._policy = settings.keep_images
        self._most = settings.max_kept_image_megabytes
        self._limits = limits

    def wants(self, verdict: str) -> bool:
        """Return whether the images of such inspections are kept."""
        return self._policy == "all" or (self._policy == "not-pass" and verdict != "pass")

    def encoded(self, source: ImageSource, image: DecodedImage, verdict: str) -> bytes | None:
        """Return an image in memory as a PNG file; None for one that is not kept, or has a file."""
        if isinstance(source, str | Path | bytes) or not self.wants(verdict):
            return None
        return png_of(source, image.pixels)

    def images(
        self,
        judged: Sequence[Inspection],
        sources: Sequence[ImageSource],
        missed: dict[int, str],
    ) -> Iterator[tuple[int, ImageContent]]:
        """Yield the images to keep, each with its position; files are read one at a time.

        Parameters
        ----------
        missed
            Is given, for each image that is to be kept and is not, the reason.
        """
        missed.clear()
        for position, (inspection, source) in enumerate(zip(judged, sources, strict=True)):
            if not self.wants(inspection.verdict):
                continue
            too_large = self.too_large(inspection, source)
            if too_large is not None:
                missed[position] = too_large
                continue
            try:
                image = self._content(inspection, source)
            except ImageError as error:
                missed[position] = f"the image is not kept: {error}"
                continue
            yield position, image

    def too_large(self, inspection: Inspection, source: ImageSource) -> str | None:
        """Return a remark on an image that would be kept if it were smaller; None for others."""
        if not self.wants(inspection.verdict) or self._size(inspection, source) <= self._most * 1e6:
            return None
        return (
            f"images of more than {self._most:g} MB are not kept; raise "
            "PATCHBANK_MAX_KEPT_IMAGE_MEGABYTES"
        )

    def _size(self, inspection: Inspection, source: ImageSource) -> int:
        if inspection.encoded is not None:
            return len(inspection.encoded)
        if isinstance(source, bytes):
            return len(source)
        assert isinstance(source, str | Path)
        try:
            return Path(source).stat().st_size
        except OSError:
            # Whoever reads it says why it cannot be read.
            return 0

    def _content(self, inspection: Inspection, source: ImageSource) -> ImageContent:
        if inspection.encoded is not None:
            return ImageContent("pixels", inspection.encoded)
        if isinstance(source, bytes):
            return ImageContent("file", source)
        assert isinstance(source, str | Path)
        return ImageContent("file", bytes_of(Path(source), inspection.sha256, self._limits))
