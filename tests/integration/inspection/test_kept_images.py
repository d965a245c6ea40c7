"""Images kept with their inspections give the recorded score again, to the bit."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.kept_images import ImageKeeper
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.vision.decoded_image import ImageSource
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces, brushed

pytestmark = pytest.mark.usefixtures("learned")


def _keeping(workspace: Workspace, **settings: Any) -> Workspace:
    workspace.settings = workspace.settings.model_copy(update=settings)
    return workspace


def _file(pixels: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pixels.save(buffer, kind, **options)
    return buffer.getvalue()


def _sources(folder: Path) -> dict[str, ImageSource]:
    pixels = np.array(brushed(3))
    image = Image.fromarray(pixels)
    # Not multiples of 257: rounding to 8 bits loses something.
    wide = pixels[:, :, 0].astype(np.uint16) * 257 - pixels[:, :, 1] // 3
    turned = Image.fromarray(pixels)
    turned.getexif()[0x0112] = 6
    path = folder / "photo.jpg"
    image.save(path, quality=90)
    return {
        "a path": path,
        "JPEG": _file(image, "JPEG", quality=70, exif=turned.getexif()),
        "PNG of 16 bits": _file(Image.fromarray(wide), "PNG"),
        "TIFF": _file(image, "TIFF"),
        "Pillow": image,
        "Pillow, turned": turned,
        "Pillow of 16 bits": Image.fromarray(wide),
        "Pillow with transparency": image.convert("RGBA"),
        "Pillow, palette": image.quantize(64),
        "colours": pixels,
        "grey": pixels[:, :, 0],
        "grey of 16 bits": wide,
        "grey of 32 bits": wide.astype(np.int32)[:, :, None],
        "colours of 16 bits": np.stack([wide, wide[::-1], wide[:, ::-1]], axis=2),
        "numbers": pixels / np.float64(255.0),
    }


def test_every_kind_of_image_gives_its_score_again_to_the_bit(
    workspace: Workspace, tmp_path: Path
) -> None:
    inspector = Inspector(_keeping(workspace, keep_images="all"), "brushed")
    sources = _sources(tmp_path)
    singly = [inspector.inspect(source, name=name) for name, source in sources.items()]
    together = inspector.inspect_many(list(sources.values()), names=list(sources))
    again = Inspector(workspace, "brushed", record=False)
    images = workspace.database.inspections
    for inspection in (*singly, *together):
        assert isinstance(inspection, Inspection)
        assert inspection.image_kept
        assert inspection.inspection_id is not None
        kept = images.image(inspection.category_id, inspection.inspection_id)
        assert kept is not None
        repeated = again.inspect(kept.content)
        assert repeated.score == inspection.score, inspection.image
        assert np.array_equal(repeated.anomaly_map, inspection.anomaly_map), inspection.image
        assert (repeated.width, repeated.height) == (inspection.width, inspection.height)
        source = sources[inspection.image]
        if isinstance(source, Path | bytes):
            expected = source.read_bytes() if isinstance(source, Path) else source
            assert kept == ("file", expected)
            assert repeated.sha256 == inspection.sha256
        else:
            assert kept.encoding == "pixels"
    # All 16 bits are there, for a bank with another bit depth.
    wide = images.image(singly[0].category_id, singly[11].inspection_id or 0)
    assert wide is not None
    with Image.open(io.BytesIO(wide.content)) as stored:
        assert np.array_equal(np.asarray(stored), np.asarray(sources["grey of 16 bits"]))


@pytest.mark.parametrize(("policy", "expected"), [("not-pass", "not-pass"), ("none", "none")])
def test_the_policy_says_which_are_kept(
    workspace: Workspace, surfaces: Surfaces, policy: str, expected: str
) -> None:
    inspector = Inspector(_keeping(workspace, keep_images=policy), "brushed")
    images = [*sorted(surfaces.good.iterdir())[:3], *sorted(surfaces.scratched.iterdir())[:3]]
    results = list(inspector.inspect_many(images))
    kept = []
    for result in results:
        assert not isinstance(result, Refused)
        number = result.inspection_id
        assert number is not None
        stored = workspace.database.inspections.image(result.category_id, number)
        assert (stored is not None) == result.image_kept
        kept.append(result.image_kept)
    failed = [not isinstance(one, Refused) and one.verdict != "pass" for one in results]
    assert any(failed)
    assert kept == (failed if expected == "not-pass" else [False] * len(results))


def test_the_default_is_to_keep_those_that_did_not_pass(workspace: Workspace) -> None:
    assert workspace.settings.keep_images == "not-pass"


def test_a_large_image_is_recorded_without_it_and_a_remark_says_so(
    patchbank: Run, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBANK_MAX_KEPT_IMAGE_MEGABYTES", "0.0001")
    monkeypatch.setenv("PATCHBANK_KEEP_IMAGES", "all")
    outcome = patchbank("inspect", "brushed", surfaces.scratched, "--json")
    assert all(document["recorded"] for document in outcome.documents)
    assert not any(document["image_kept"] for document in outcome.documents)
    # Once, not for each image.
    assert outcome.err.count("images of more than 0.0001 MB are not kept") == 1
    assert "PATCHBANK_MAX_KEPT_IMAGE_MEGABYTES" in outcome.err


def test_a_file_that_was_changed_meanwhile_is_not_kept(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    image = tmp_path / "camera.png"
    image.write_bytes(sorted(surfaces.scratched.iterdir())[0].read_bytes())
    inspection = Inspector(workspace, "brushed", record=False).inspect(image)
    keeper = ImageKeeper(workspace.settings, workspace.limits)
    missed: dict[int, str] = {}
    failed = replace(inspection, remarks=())
    assert len(list(keeper.images([failed], [image], missed))) == int(not failed.passed) == 1
    image.write_bytes(sorted(surfaces.good.iterdir())[0].read_bytes())
    assert list(keeper.images([failed], [image], missed)) == []
    assert "was changed after it was read" in missed[0]
    image.unlink()
    assert list(keeper.images([failed], [image], missed)) == []
    assert "does not exist" in missed[0]


def test_removing_the_category_removes_its_images(workspace: Workspace) -> None:
    inspector = Inspector(_keeping(workspace, keep_images="all"), "brushed")
    inspection = inspector.inspect(brushed(1), name="a")
    workspace.database.categories.remove("brushed")
    assert inspection.inspection_id is not None
    images = workspace.database.inspections
    assert images.image(inspection.category_id, inspection.inspection_id) is None


def test_part_and_station_are_recorded(
    patchbank: Run, workspace: Workspace, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sorted(surfaces.good.iterdir())[0]
    document = patchbank("inspect", "brushed", image, "--part", " SN-1 ", "--json").document
    assert (document["part"], document["station"]) == ("SN-1", None)
    monkeypatch.setenv("PATCHBANK_STATION", "line-2")
    outcome = patchbank("inspect", "brushed", surfaces.good, "--part-from", r"(\d+)\.", "--json")
    names = [Path(document["image"]).stem for document in outcome.documents]
    assert [document["part"] for document in outcome.documents] == names
    assert {document["station"] for document in outcome.documents} == {"line-2"}
    document = patchbank("inspect", "brushed", image, "--station", "line-3", "--json").document
    assert document["station"] == "line-3"
    recorded = workspace.database.inspections.recent("brushed")
    assert [(one.part, one.station) for one in recorded[:2]] == [
        (None, "line-3"),
        (names[-1], "line-2"),
    ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--part", " "), "part is empty; leave it out or give a name"),
        (("--part", "x" * 201), "has 201 characters; use at most 200"),
        (("--station", "a\tb"), "must not contain control characters"),
        (("--part", "1", "--part-from", "x"), "--part and --part-from: give one of them"),
        (("--part-from", "(x"), "part-from '(x': is not a regular expression"),
        (("--part-from", "(x)(y)"), "has 2 groups; give one, around the part's id"),
        (("--part-from", "nowhere"), "part-from 'nowhere': fits no image, such as"),
    ],
)
def test_bad_input_is_a_line(
    patchbank: Run, surfaces: Surfaces, options: tuple[str, ...], complaint: str
) -> None:
    outcome = patchbank("inspect", "brushed", surfaces.good, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.complaint


def test_images_whose_names_tell_no_part_are_told(patchbank: Run, surfaces: Surfaces) -> None:
    images = sorted(surfaces.good.iterdir())[:3]
    outcome = patchbank("inspect", "brushed", *images, "--part-from", r"00[01](?=\.)", "--json")
    assert [document["part"] for document in outcome.documents] == ["000", "001", None]
    assert "1 image recorded without a part" in outcome.err
