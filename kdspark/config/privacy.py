"""Whose data is not read, under which names users are known, and who may read what is written."""

import hashlib
import hmac
import os
from pathlib import Path

from pydantic import Field, model_validator

from kdspark.config.base import Strict
from kdspark.config.source import SourceConfig
from kdspark.errors import ConfigError
from kdspark.redaction import hide

_LEAST = 32  # letters of a key


class IdListConfig(SourceConfig):
    """A table of ids, of any columns beside."""

    id: str


class PseudonymsConfig(Strict):
    """Users are known by a keyed hash of their id: the first 128 bits of HMAC-SHA256(key, id as UTF-8 text), in hex.

    Whoever has the key can tell the pseudonym of an id, so that lists find their users; nobody else can. By mistake two
    of a billion users share one with a chance of 1 in 10^20. The key has at least 32 letters, such as
    `openssl rand -hex 32` prints; with another key everybody is somebody else, so a ROOT has one for all its nights.

    Args:
        key_env: variable of the driver's environment that holds the key.
        key_file: file of the driver's machine that holds it; blanks around it do not count.
    """

    key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    key_file: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "PseudonymsConfig":
        if (self.key_env is None) == (self.key_file is None):
            raise ValueError("give `key_env` or `key_file`, where the key is")
        return self

    def key(self) -> bytes:
        """The key, which from now on no message and no line of the log shows.

        Raises:
            ConfigError: there is none, or it is too short.
        """
        where = f"`privacy.pseudonyms`: {self.key_env or self.key_file}"
        try:
            text = os.environ[self.key_env] if self.key_env else Path(str(self.key_file)).read_text(encoding="utf-8")
        except (KeyError, OSError, UnicodeDecodeError):
            raise ConfigError(f"{where} cannot be read.", "Put the key there, for the driver alone to read.") from None
        if len(text.strip()) < _LEAST:
            raise ConfigError(
                f"{where} holds no key of {_LEAST} letters or more.",
                "Make one with `openssl rand -hex 32`, and keep it.",
            )
        hide(text.strip())
        return text.strip().encode()

    def fingerprint(self) -> str:
        """Tells one key from another, and nothing of either."""
        return hmac.new(self.key(), b"kdspark: fingerprint of a key", hashlib.sha256).hexdigest()[:32]


class PrivacyConfig(Strict):
    """What a night keeps from the logs, and from those who may look at what it writes.

    Args:
        erased: users who are left out of everything that is read: log, provided parts of the split, user table, and the
            rules' tables by user. Beside them those whom `kdspark erase` has erased, for good.
        pseudonyms: null: ids as they are.
        sensitive_items: items that are left out of everything that is read: never learned from, never recommended.
        min_users_per_item: items that fewer users have chosen are described, in the table of items and so to models, as
            if they had been chosen once, nobody knows when. They are learned from and recommended all the same.
        umask: permissions that no file or folder below ROOT has; 027: the owner writes, the group reads, others
            nothing. On a cluster the folders that the driver makes have them, which bars the way to all below.
    """

    erased: IdListConfig | None = None
    pseudonyms: PseudonymsConfig | None = None
    sensitive_items: IdListConfig | None = None
    min_users_per_item: int = Field(1, ge=1)
    umask: str = Field("027", pattern=r"^0?[0-7]{3}$")

    @property
    def mask(self) -> int:
        """`umask` as a number."""
        return int(self.umask, 8)
