"""The base of every configuration model: unknown keys are errors, values are immutable."""

import hashlib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from kdspark.redaction import has_credentials


class Strict(BaseModel):
    """A frozen section of the configuration that refuses unknown keys and non-finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    def digest(self) -> str:
        """sha256 (hex) of the section's canonical JSON: equal sections, equal digests."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def changed(self, *names: str) -> list[str]:
        """Which of these keys have another value than their default's.

        Not which were given: a section that was dumped and is read again gives all of them.
        """
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]

    def refuse_idle(self, names: Iterable[str], where: str) -> None:
        """Raise ValueError if one of these keys was changed, as it would do nothing.

        Args:
            where: the setting that makes it so, such as "with `format: parquet`".
        """
        idle = self.changed(*names)
        if idle:
            keys = " and ".join(f"`{name}`" for name in idle)
            raise ValueError(f"{keys} would do nothing {where}; remove {'it' if len(idle) == 1 else 'them'}")


def refuse_credentials(url: str) -> None:
    """Raise ValueError if a path carries a password or a signature: paths go into manifests, logs and reports."""
    if has_credentials(url):
        raise ValueError(
            "the URL holds credentials; leave them to Hadoop (core-site.xml, a credential provider, the environment)"
        )
