"""The base of every configuration model: unknown keys are errors, values are immutable."""

import hashlib

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen section of the configuration that refuses unknown keys and non-finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    def digest(self) -> str:
        """sha256 (hex) of the section's canonical JSON: equal sections, equal digests."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
