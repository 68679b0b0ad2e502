"""Keyed hashes of ids, HMAC-SHA256 (RFC 2104), as Spark's own expressions: no Python per row.

The key is no literal of a plan, which event logs and the user interface show: its two pads are the data of a table of
one row, which Spark broadcasts as it does any small table. Between machines it is as safe as any data of a job; a
cluster that others listen to encrypts both (`spark.network.crypto.enabled`, `spark.io.encryption.enabled`).
"""

import hashlib
import hmac
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PSEUDONYM = 32
"""Letters of a pseudonym: 128 bits."""
_BLOCK = 64  # bytes that SHA-256 takes at once
_INNER, _OUTER = "_kdspark_inner", "_kdspark_outer"


def with_hmac(frame: "DataFrame", column: str, key: bytes, name: str, letters: int = 64) -> "DataFrame":
    """Add, or replace, a column: the hash of another one's value as UTF-8 text, in hex; null for null.

    Args:
        letters: how many of its 64 to keep.
    """
    key = hashlib.sha256(key).digest() if len(key) > _BLOCK else key
    padded = key.ljust(_BLOCK, b"\0")
    pads = tuple(bytearray(byte ^ pad for byte in padded) for pad in (0x36, 0x5C))
    keyed = frame.sparkSession.createDataFrame([pads], f"{_INNER} BINARY, {_OUTER} BINARY")
    message = F.col(column).cast("string").cast("binary")
    inner = F.unhex(F.sha2(F.concat(F.col(_INNER), message), 256))
    outer = F.sha2(F.concat(F.col(_OUTER), inner), 256)
    together = frame.crossJoin(F.broadcast(keyed))
    return together.withColumn(name, outer.substr(1, letters)).drop(_INNER, _OUTER)


def pseudonym(user: str, key: bytes) -> str:
    """Of one user, as `with_hmac` gives it."""
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()[:PSEUDONYM]
