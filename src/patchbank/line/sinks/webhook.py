"""Webhooks: inspections sent over HTTP, signed as Standard Webhooks are."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

import httpx

from patchbank.errors import SinkError
from patchbank.inspection.keeping.recorded import RecordedInspection
from patchbank.line.sinks.base import Outcome
from patchbank.line.sinks.signing import key_of, signature
from patchbank.retry_after import seconds_to_wait

# A receiver that takes longer is tried again.
_SECONDS = 10.0
# Requests at once: receivers that take their time keep up with a line.
_AT_ONCE = 8
_LONGEST_WAIT = 3600.0


class WebhookSink:
    """Posts each inspection as a JSON document.

    Raises
    ------
    SinkError
        If the environment has certificates or a proxy that cannot be used.
    """

    def __init__(self, sink_id: int, url: str, secret: str) -> None:
        self._sink_id, self._url, self._key = sink_id, url, key_of(secret)
        try:
            self._client = httpx.AsyncClient(
                timeout=_SECONDS,
                limits=httpx.Limits(max_connections=_AT_ONCE),
                headers={
                    "content-type": "application/json",
                    "user-agent": f"patchbank/{version('patchbank')}",
                },
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            raise SinkError(
                f"the certificates or the proxy of the environment cannot be used: {error}; check "
                "SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY and HTTP_PROXY"
            ) from error
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def send(self, inspections: Sequence[RecordedInspection]) -> list[Outcome]:
        """Send inspections; several at once."""
        posted = [asyncio.create_task(self._inspection(each)) for each in inspections]
        try:
            return await asyncio.gather(*posted)
        except SinkError:
            # The others would wait for the same receiver.
            for task in posted:
                task.cancel()
            outcomes = await asyncio.gather(*posted, return_exceptions=True)
            if not any(isinstance(each, Outcome) and each.error is None for each in outcomes):
                raise
            return [
                each if isinstance(each, Outcome) else Outcome(str(each) or "was not sent")
                for each in outcomes
            ]

    async def test(self) -> None:
        """Send a message of the type ``test``."""
        outcome = await self._post(
            f"test_{secrets.token_hex(8)}",
            {"type": "test", "timestamp": datetime.now().astimezone().isoformat(), "data": {}},
        )
        if outcome.error is not None:
            raise SinkError(outcome.error)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def _inspection(self, inspection: RecordedInspection) -> Outcome:
        document = {
            "type": "inspection.recorded",
            "timestamp": inspection.inspected_at.isoformat(),
            "data": inspection.to_json(),
        }
        # The same at each try, so that receivers know what they have.
        return await self._post(f"inspection_{inspection.inspection_id}_{self._sink_id}", document)

    async def _post(self, message_id: str, document: dict[str, Any]) -> Outcome:
        body = json.dumps(document, allow_nan=False).encode()
        async with self._room:
            now = int(time.time())
            headers = {
                "webhook-id": message_id,
                "webhook-timestamp": str(now),
                "webhook-signature": signature(self._key, message_id, now, body),
            }
            try:
                # An answer may have no end: nobody reads it.
                async with (
                    asyncio.timeout(_SECONDS),
                    self._client.stream("POST", self._url, content=body, headers=headers) as answer,
                ):
                    return _outcome(answer)
            except UnicodeError as error:
                raise SinkError("no host can have this name") from error
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                reason = str(error) or f"no answer within {_SECONDS:g} s"
                raise SinkError(reason) from error


def _outcome(answer: httpx.Response) -> Outcome:
    if answer.is_success:
        return Outcome()
    if answer.has_redirect_location:
        return Outcome(
            f"answered {answer.status_code}: it has moved; add the sink with its new URL"
        )
    seconds = min(seconds_to_wait(answer.headers.get("retry-after", "")), _LONGEST_WAIT)
    return Outcome(f"answered {answer.status_code} {answer.reason_phrase}".rstrip(), seconds)
