"""What an import answers."""

from __future__ import annotations

from pydantic import Field

from patchbank.server.models import Model


class Imported(Model):
    """A bank that came as a file."""

    category: str
    bank_version: int
    file_bytes: int
    images: int = Field(description="Its references.")
    bank_size: int = Field(description="Its patches.")
    remarks: list[str]
