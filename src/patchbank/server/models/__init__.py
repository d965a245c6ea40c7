"""What the service takes and answers, described for its OpenAPI document; one subject a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["pass", "review", "fail"]

#: What PostgreSQL counts to.
MOST_NUMBER = 2**63 - 1
MOST_VERSION = 2**31 - 1

Version = Annotated[int, Field(ge=1, le=MOST_VERSION)]
Number = Annotated[int, Field(ge=1, le=MOST_NUMBER)]


class Model(BaseModel):
    """Has the fields that it names, and no others."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
