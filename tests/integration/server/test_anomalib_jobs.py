"""Banks of Anomalib imported and calibrated by jobs of the service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.models.jobs import Job
from patchbank.server.service import ServiceOptions
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import decode
from tests.fixtures.anomalib import tensor_file
from tests.fixtures.surfaces import Surfaces
from tests.integration.server.test_jobs import ended

SETTINGS = ExtractorSettings(image_size=64, resize_precision="float32")
MADE_WITH = {
    "backbone": "efficientnet-lite0",
    "layers": "blocks.4,blocks.10",
    "image_size": 64,
    "center_crop": 0,
}
LEATHER = "/v1/categories/leather"


def test_a_bank_of_anomalib_is_imported_calibrated_and_judges(
    workspace: Workspace, surfaces: Surfaces, graphs_home: Path, tmp_path: Path
) -> None:
    good = sorted(surfaces.train.iterdir())
    with Extractor(SETTINGS, cache_folder=graphs_home / "graphs") as extractor:
        features = extractor.extract([decode(path).pixels for path in good[:8]]).patches
    bank = np.ascontiguousarray(features.reshape(-1, features.shape[-1])[::3])
    (tmp_path / "bank.pt").write_bytes(tensor_file(bank))
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 torn")
    files = [("image", (path.name, path.read_bytes())) for path in good[8:]]
    wanted = {"file": str(tmp_path / "bank.pt"), **MADE_WITH}
    options = ServiceOptions(folders=(tmp_path.resolve(),))
    with TestClient(create_app(workspace, options), raise_server_exceptions=False) as client:
        # There is nothing to calibrate yet, and files elsewhere are none of a client's business.
        assert client.post(f"{LEATHER}/calibrate", files=files).status_code == 404
        elsewhere = {**wanted, "file": "/etc/passwd"}
        assert client.post(f"{LEATHER}/import-anomalib", json=elsewhere).status_code == 403
        broken = {**wanted, "file": str(tmp_path / "broken.pt")}
        job = client.post(f"{LEATHER}/import-anomalib", json=broken).json()
        failed = ended(client, job["job_id"])
        assert (failed["state"], "broken.pt" in failed["error"]) == ("failed", True)

        job = client.post(f"{LEATHER}/import-anomalib", json=wanted).json()
        done = Job.model_validate(ended(client, job["job_id"]))
        assert done.state == "done", done.error
        assert done.result is not None
        assert (done.kind, done.result["bank_size"]) == ("import-anomalib", len(bank))
        assert (done.done, done.total) == (1, 1)
        image = min(surfaces.scratched.iterdir()).read_bytes()
        assert client.post(f"{LEATHER}/inspect", content=image).status_code == 409
        ready = client.get("/health/ready")
        waits = {"leather": "The category's bank has no calibration"}
        assert (ready.status_code, ready.json()["cannot_judge"]) == (200, waits)
        again = ended(
            client, client.post(f"{LEATHER}/import-anomalib", json=wanted).json()["job_id"]
        )
        assert (again["state"], "already has a bank" in again["error"]) == ("failed", True)

        rates = {"false_alarm_rate": 0.1}
        job = client.post(f"{LEATHER}/calibrate", files=files, params=rates).json()
        calibrated = Job.model_validate(ended(client, job["job_id"]))
        assert calibrated.state == "done", calibrated.error
        assert calibrated.result is not None
        assert (calibrated.kind, calibrated.result["images"]) == ("calibrate", len(files))
        judged = client.post(f"{LEATHER}/inspect", content=image).json()
        assert (judged["verdict"], judged["bank_version"]) == ("fail", 2)
        assert client.get("/health/ready").json()["cannot_judge"] == {}

        # From a folder of the service as well.
        for path in good[8:]:
            (tmp_path / path.name).write_bytes(path.read_bytes())
        folder = {"folder": str(tmp_path)}
        job = client.post(f"{LEATHER}/calibrate", json=folder).json()
        assert ended(client, job["job_id"])["state"] == "done"
        assert client.get(f"{LEATHER}/history").json()["items"][0]["cause"] == "calibrate"
