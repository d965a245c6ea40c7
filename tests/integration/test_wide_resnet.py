"""wide_resnet50_2 from `backbone add` to a verdict, on random weights under timm's names."""

from __future__ import annotations

from pathlib import Path

from patchbank.settings import get_settings
from patchbank.store.database import open_database
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from tests.fixtures.commands import Run
from tests.fixtures.networks import write_weights
from tests.fixtures.surfaces import Surfaces, brushed

NAME = "wide_resnet50_2"
# The task this came from asks for 256 and 224; a tenth of the pixels shows the same in a moment.
SIZES = ("--image-size", "80", "--center-crop", "64")


def test_from_weights_to_a_verdict(
    patchbank: Run,
    backbones_folder: Path,
    surfaces: Surfaces,
    tmp_path: Path,
    database_url: str,
    graphs_home: Path,
) -> None:
    fit = ("fit", "brushed", str(surfaces.train), "--backbone", NAME, *SIZES)
    layers = ("--layers", "layer2,layer3", "--coreset-ratio", "0.1")
    missing = patchbank(*fit, *layers)
    assert missing.code == 2
    assert missing.complaint.startswith(f"{NAME}: its weights are not on this machine; run: ")

    file = write_weights(NAME, tmp_path / "model.safetensors")
    added = patchbank("backbone", "add", NAME, "--file", file, "--json").document
    file.unlink()
    assert Path(added["path"]).is_relative_to(backbones_folder)

    learned = patchbank(*fit, *layers, "--json").document
    assert learned["extractor"]["layers"] == ["layer2", "layer3"]
    assert learned["dimension"] == 1536
    assert learned["patches"] == 24 * 8 * 8
    assert learned["bank_size"] == round(0.1 * learned["patches"])

    judged = patchbank(
        "inspect", "brushed", str(surfaces.scratched), str(surfaces.train), "--json"
    ).documents
    scores = {
        kind: [one["score"] for one in judged if kind in one["image"]]
        for kind in ("scratch", "train")
    }
    # Random weights are enough to see a scratch; what they cannot do is tell fine differences.
    assert min(scores["scratch"]) > max(scores["train"])

    get_settings.cache_clear()
    settings = ExtractorSettings(NAME, image_size=80, center_crop=64)
    with open_database(database_url, tmp_path) as database:
        bank = database.banks.active("brushed")
    assert bank.content.extractor_fingerprint == settings.fingerprint()
    # The bank's rows are patches of the images it learned, bit for bit.
    kept = {row.tobytes() for row in bank.content.features}
    with Extractor(settings, cache_folder=graphs_home / "graphs") as extractor:
        learned_patches = extractor.extract([brushed(number) for number in range(24)]).patches
    assert kept <= {row.tobytes() for row in learned_patches.reshape(-1, 1536)}
