"""The service holds what its OpenAPI document says, whatever it is sent."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.workspace import Workspace
from tests.fixtures.service import RunningService
from tests.fixtures.surfaces import Surfaces

pytestmark = pytest.mark.slow

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# Of each operation in a round: so many that the document allows, and so many that it forbids.
EXAMPLES = 2
# All operations are asked in a first round; others follow until then.
SECONDS, MOST_ROUNDS = 20, 6
CATEGORY = "brushed"
# What must not be what there is: the category stays, and streams would not end.
NEVER_KNOWN = {
    ("DELETE", "/v1/categories/{category}"): ("category", "another"),
    ("GET", "/v1/categories/{category}/events"): ("category", "another"),
    ("GET", "/v1/jobs/{job_id}/events"): ("job_id", 10**9),
}
# Never others: the key that this test has stays, and the service connects to nobody else.
ALWAYS_KNOWN = ("key_id", "target")


@dataclass
class Contract:
    """A running service with something in it, and what was found."""

    schema: Any
    session: requests.Session
    # What it has, by the names of parameters and fields.
    known: dict[str, list[Any]]
    statuses: Counter[int] = field(default_factory=Counter)
    succeeded: set[str] = field(default_factory=set)
    problems: dict[tuple[str, str], str] = field(default_factory=dict)

    def send(self, case: Case[Any], data: st.DataObject) -> None:
        """Send what was generated, mostly about what there is: else nearly all were not found."""
        for values in (case.path_parameters, case.query, case.body):
            if isinstance(values, dict):
                for name in values.keys() & self.known.keys():
                    if name in ALWAYS_KNOWN or data.draw(st.integers(0, 3)):
                        values[name] = data.draw(st.sampled_from(self.known[name]))
        if data.draw(st.integers(0, 3)):
            # Mostly whatever version is in use.
            case.query.pop("expected_version", None)
        if (case.method, case.path) in NEVER_KNOWN:
            name, value = NEVER_KNOWN[case.method, case.path]
            case.path_parameters[name] = value
        answer = case.call(session=self.session, timeout=60)
        self.statuses[answer.status_code] += 1
        if answer.status_code < 300:
            self.succeeded.add(case.operation.label)
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                self.problems.setdefault(
                    (case.operation.label, getattr(failure, "title", "")),
                    f"{failure}\n{case.as_curl_command()}\n{answer.text:.1000}",
                )


@pytest.fixture
def contract(
    shared_service: RunningService, surfaces: Surfaces, workspace: Workspace
) -> Iterator[Contract]:
    scratched = sorted(surfaces.scratched.iterdir())[:4]
    files = [file.read_bytes() for file in (*sorted(surfaces.good.iterdir())[:2], *scratched)]
    schemathesis.openapi.format("binary", st.sampled_from(files))
    for kind in ("application/octet-stream", "image/*"):
        schemathesis.openapi.media_type(kind, st.sampled_from(files) | st.binary(max_size=200))
    with Workspace(home=workspace.home, database_url=shared_service.database_url) as opened:
        # From the first key on, all others are refused: this one is never revoked.
        secret = create_key(opened, "contract", "admin").secret
    base = f"{shared_service.url}/v1/categories/{CATEGORY}"
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {secret}"
        numbers = [
            session.post(f"{base}/inspect", data=file).json()["inspection_id"] for file in files
        ]
        session.post(
            f"{base}/inspections/{numbers[2]}/review", json={"answer": "defect", "label": "scratch"}
        )
        for file in files[3:]:
            session.post(f"{base}/references", data=file)
        held = session.get(f"{base}/quarantine").json()["items"]
        references = session.get(f"{base}/references").json()["items"]
        defects = session.get(f"{base}/defects").json()["items"]
        document = session.get(f"{shared_service.url}/openapi.json").json()
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=shared_service.url)
        digests = [item["pixels_sha256"] for item in held]
        yield Contract(
            schema,
            session,
            {
                "category": [CATEGORY],
                "project": [CATEGORY],
                "inspection_id": numbers,
                "reference_id": [item["reference_id"] for item in references],
                "references": [[item["reference_id"]] for item in references],
                "defect_id": [item["defect_id"] for item in defects],
                "name": [references[0]["name"], defects[0]["name"]],
                "key_id": [2, 3],
                "target": ["http://127.0.0.1:9/hook"],
                "sink_id": [1, 2],
                "version": [1],
                "x": [10],
                "y": [80],
                "pixels_sha256": [*digests, *([digest] for digest in digests)],
            },
        )


def test_nothing_is_answered_that_is_not_documented(
    contract: Contract, shared_service: RunningService
) -> None:
    operations = [found.ok() for found in contract.schema.get_all_operations()]
    assert len(operations) > 50
    began = time.monotonic()
    for number in range(MOST_ROUNDS):
        if number and time.monotonic() - began > SECONDS:
            break
        for operation, mode in itertools.product(operations, GenerationMode):
            ask(contract, operation, mode, number)
    print(
        f"{sum(contract.statuses.values())} requests in {time.monotonic() - began:.0f} s: "
        f"{dict(contract.statuses)}; never succeeded: "
        f"{sorted({operation.label for operation in operations} - contract.succeeded)}"
    )
    assert shared_service.process.poll() is None
    assert not contract.problems, "\n\n".join(
        f"{label}: {title}\n{text}" for (label, title), text in contract.problems.items()
    )
    # Otherwise it would show little.
    assert len(contract.succeeded) > 0.7 * len(operations)


def ask(
    contract: Contract,
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    number: int,
) -> None:
    """Send some generated requests of an operation."""

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def send(case: Case[Any], data: st.DataObject) -> None:
        contract.send(case, data)

    # Where nothing can be wrong, as without parameters, nothing is generated.
    with contextlib.suppress(Unsatisfiable):
        send()
