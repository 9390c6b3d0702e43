"""What every part of the file is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
"""A name of a service, check or command: lower-case letters, digits, `-` and `_`, at most 63."""

Argument = Annotated[str, StringConstraints(min_length=1)]
"""One part of a command line."""


class Section(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
