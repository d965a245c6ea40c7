"""Clients of Amazon Lookout for Vision change only the address."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import numpy as np
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from fastapi.testclient import TestClient
from PIL import Image

from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.models.lookout import DetectAnomaliesAnswer
from tests.fixtures.commands import Outcome
from tests.fixtures.service import RunningService
from tests.fixtures.surfaces import SIDE, Surfaces

_MODELS = Path(__file__).parents[2] / "fixtures" / "aws"


def lookout(url: str, access_key: str = "none") -> Any:
    session = botocore.session.get_session()
    session.get_component("data_loader").search_paths.insert(0, str(_MODELS))
    return boto3.session.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key="none",
        region_name="eu-west-1",
        botocore_session=session,
    ).client("lookoutvision", endpoint_url=url, config=Config(retries={"max_attempts": 1}))


def detect(client: Any, path: Path, project: str = "brushed") -> Any:
    return client.detect_anomalies(
        ProjectName=project, ModelVersion="1", ContentType="image/png", Body=path.read_bytes()
    )


def test_boto3_reads_the_answer(
    learned: Outcome, running_service: RunningService, surfaces: Surfaces, workspace: Workspace
) -> None:
    client = lookout(running_service.url)
    scratched = sorted(surfaces.scratched.iterdir())[0]
    found = detect(client, scratched)["DetectAnomalyResult"]
    assert found["IsAnomalous"]
    assert 0.5 <= found["Confidence"] <= 1
    background, anomaly = found["Anomalies"]
    share = anomaly["PixelAnomaly"]["TotalPercentageArea"]
    assert background["PixelAnomaly"]["TotalPercentageArea"] == pytest.approx(1 - share)
    with Image.open(io.BytesIO(found["AnomalyMask"])) as opened:
        mask = np.asarray(opened.convert("RGB"))
    assert mask.shape == (SIDE, SIDE, 3)
    assert (mask == (0x23, 0xA4, 0x36)).all(axis=2).mean() == pytest.approx(share)
    assert share > 0
    good = detect(client, sorted(surfaces.train.iterdir())[0])["DetectAnomalyResult"]
    assert not good["IsAnomalous"]
    assert good["Confidence"] >= 0.5
    assert len(workspace.database.inspections.recent("brushed")) == 2

    with pytest.raises(ClientError) as raised:
        detect(client, scratched, "brush")
    assert raised.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert "did you mean 'brushed'?" in raised.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as raised:
        detect(client, Path(__file__))
    assert raised.value.response["Error"]["Code"] == "ValidationException"

    create_key(workspace, "boss", "admin")
    key = create_key(workspace, "old client", "operator")
    # From then on a key is needed; the service sees it within a second.
    time.sleep(1.1)
    with pytest.raises(ClientError) as raised:
        detect(lookout(running_service.url, "AKIA0"), scratched)
    assert raised.value.response["Error"]["Code"] == "AccessDeniedException"
    assert detect(lookout(running_service.url, key.secret), scratched)


def test_the_answer_is_as_described(
    learned: Outcome, client: TestClient, surfaces: Surfaces
) -> None:
    path = "/2020-11-20/projects/brushed/models/1/detect"
    for image in (sorted(surfaces.scratched.iterdir())[0], sorted(surfaces.train.iterdir())[0]):
        answer = client.post(path, content=image.read_bytes())
        assert answer.status_code == 200
        DetectAnomaliesAnswer.model_validate(answer.json())


def test_the_mask_is_drawn_where_images_are_judged(
    learned: Outcome, client: TestClient, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the event loop, the mask of a large image would stop the whole service for seconds."""
    drawn = Inspection.full_map
    threads: list[str] = []

    def watched(inspection: Inspection) -> Any:
        threads.append(threading.current_thread().name)
        return drawn(inspection)

    monkeypatch.setattr(Inspection, "full_map", watched)
    scratched = sorted(surfaces.scratched.iterdir())[0].read_bytes()
    answer = client.post("/2020-11-20/projects/brushed/models/1/detect", content=scratched)
    assert answer.json()["DetectAnomalyResult"]["IsAnomalous"]
    assert [name.rpartition("_")[0] for name in threads] == ["patchbank-judging"]


def test_a_busy_service_is_asked_again(
    learned: Outcome, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app.state.service.pool, "_most", 0)  # type: ignore[attr-defined]
    answer = client.post("/2020-11-20/projects/brushed/models/1/detect", content=b"x")
    assert answer.status_code == 429
    assert answer.headers["x-amzn-errortype"] == "ThrottlingException"


def test_a_damaged_bank_is_no_throttling(learned: Outcome, workspace: Workspace) -> None:
    with workspace.database.connection() as connection:
        connection.execute("update bank set settings = '[1]'")
    with TestClient(create_app(workspace)) as client:
        answer = client.post("/2020-11-20/projects/brushed/models/1/detect", content=b"x")
    assert answer.status_code == 500
    assert answer.headers["x-amzn-errortype"] == "InternalServerException"
