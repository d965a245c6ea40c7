"""MQTT: inspections published to a broker, and the last verdict of each station retained."""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from urllib.parse import quote, urlsplit

import aiomqtt

from patchbank.errors import SinkError
from patchbank.inspection.keeping.recorded import RecordedInspection
from patchbank.line.sinks.base import Outcome

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_SECONDS = 10.0
#: What stands for the station of inspections without one.
NO_STATION = "-"
# At least once.
_QOS = 1
# No host can have some names, such as `a..b`.
_FAILURES = (aiomqtt.MqttError, UnicodeError)


class MqttSink:
    """Publishes each inspection, in their order."""

    def __init__(self, url: str, user: str | None, password: str | None, topic: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._tls = ssl.create_default_context() if parts.scheme == "mqtts" else None
        self._user, self._password, self._topic = user, password, topic
        self._client: aiomqtt.Client | None = None
        self._open = AsyncExitStack()
        # A verdict that comes late must not replace a newer one.
        self._newest: dict[str, int] = {}

    async def send(self, inspections: Sequence[RecordedInspection]) -> list[Outcome]:
        """Publish inspections, and the last verdicts."""
        if self._client is not None:
            try:
                return await self._send(self._client, inspections)
            except aiomqtt.MqttError:
                # The connection ended since: a new one may do.
                await self.close()
        try:
            return await self._send(await self._connected(), inspections)
        except _FAILURES as error:
            await self.close()
            raise SinkError(_reason(error)) from error

    async def test(self) -> None:
        """Publish a message to the topic ``test``."""
        try:
            client = await self._connected()
            await client.publish(f"{self._topic}/test", "{}", qos=_QOS)
        except _FAILURES as error:
            raise SinkError(_reason(error)) from error

    async def close(self) -> None:
        """Disconnect."""
        self._client = None
        # It may have been cut off.
        with suppress(aiomqtt.MqttError):
            await self._open.aclose()

    async def _connected(self) -> aiomqtt.Client:
        client = aiomqtt.Client(
            self._host,
            self._port,
            username=self._user,
            password=self._password,
            identifier=f"patchbank-{secrets.token_hex(6)}",
            tls_context=self._tls,
            timeout=_SECONDS,
            # Also how long a broker that says nothing is waited for.
            keepalive=int(_SECONDS),
        )
        self._client = await self._open.enter_async_context(client)
        return self._client

    async def _send(
        self, client: aiomqtt.Client, inspections: Sequence[RecordedInspection]
    ) -> list[Outcome]:
        for inspection in inspections:
            topic = "/".join(
                (self._topic, level(inspection.category), level(inspection.station or NO_STATION))
            )
            document = inspection.to_json()
            await client.publish(f"{topic}/inspection", _text(document), qos=_QOS)
            if self._newest.get(topic, 0) > inspection.inspection_id:
                continue
            self._newest[topic] = inspection.inspection_id
            verdict = {name: document[name] for name in _LAST}
            await client.publish(f"{topic}/verdict", _text(verdict), qos=_QOS, retain=True)
        return [Outcome()] * len(inspections)


_LAST = (
    "inspection_id",
    "inspected_at",
    "category",
    "station",
    "part",
    "image",
    "verdict",
    "score",
    "pass_below",
    "fail_above",
)


def level(name: str) -> str:
    """Return a name as one level of a topic: ``/``, ``+``, ``#`` and ``%`` percent-encoded."""
    return "".join(quote(letter, safe="") if letter in "/+#%" else letter for letter in name)


def _text(document: object) -> str:
    return json.dumps(document, allow_nan=False, ensure_ascii=False)


def _reason(error: aiomqtt.MqttError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "no host can have this name"
    text = str(error)
    return "the broker does not answer" if text in ("", "Operation timed out") else text
