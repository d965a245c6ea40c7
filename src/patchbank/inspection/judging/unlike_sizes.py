"""Images in tiles whose size is unlike that of every reference, as of another lens or another part.

In tiles a part has the size that the camera gives it, so a part seen twice as large is no longer
what was learned; and borders look different where a tile shows more behind the image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from patchbank.store.bank_content import ReferenceImage
from patchbank.vision.extractor_settings import ExtractorSettings

# Factor by which width and height may differ from those of a reference.
_ALIKE = 1.25

Size = tuple[int, int]


def is_unlike(size: Size, known: Collection[Size]) -> bool:
    """Return whether no known size is about as wide and as high."""
    return bool(known) and not any(
        all(
            side <= _ALIKE * other and other <= _ALIKE * side
            for side, other in zip(size, reference, strict=True)
        )
        for reference in known
    )


def remark_on_image(size: Size, known: Collection[Size]) -> tuple[str, ...]:
    """Return a remark on an inspected image whose size is unlike that of every reference."""
    if not is_unlike(size, known):
        return ()
    return (f"has {size[0]} x {size[1]} pixels, unlike every reference {_consequence(known)}",)


def remark_on_images(
    images: Collection[ReferenceImage],
    references: Collection[ReferenceImage],
    settings: ExtractorSettings,
) -> tuple[str, ...]:
    """Return a remark that counts the images whose size is unlike that of every reference."""
    known = known_sizes(references, settings)
    unlike = [image for image in images if is_unlike((image.width, image.height), known)]
    if not unlike:
        return ()
    have = "image has" if len(images) == 1 else "images have"
    return (
        f"{len(unlike)} of {len(images)} {have} a size, such as {unlike[0].width} x "
        f"{unlike[0].height}, unlike every reference {_consequence(known)}",
    )


def known_sizes(
    references: Collection[ReferenceImage], settings: ExtractorSettings
) -> Counter[Size]:
    """Return how many references there are of each size; none where images become squares."""
    if settings.scale is None:
        return Counter()
    return Counter((image.width, image.height) for image in references)


def _consequence(known: Collection[Size]) -> str:
    width, height = next(iter(known))
    others = f" and {len(known) - 1} other sizes" if len(known) > 1 else ""
    return (
        f"({width} x {height}{others}): a part photographed at another scale looks defective; "
        "fit it as a category of its own"
    )
