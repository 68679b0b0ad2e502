"""Secrets are put out of sight in messages, logs and stack traces; what is none stays as it is."""

import logging

import pytest

from kdspark.errors import StageError
from kdspark.redaction import Redaction, has_credentials, hide, print_redacted, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3a://me:pass-word@bucket/log", "s3a://***@bucket/log"),
        ("hdfs://u:p@nn:9000/x and ftp://a:b@c", "hdfs://***@nn:9000/x and ftp://***@c"),
        ("wasbs://c@a.net/x?sv=1&sig=abc%2F&se=2", "wasbs://c@a.net/x?sv=1&sig=***&se=2"),
        ("https://h/x?access_token=abc", "https://h/x?access_token=***"),
        ("abfss://container@account.dfs.core.windows.net/x", None),
        ("hdfs://user@name-node:9000/day=1/file?.csv", None),
        ("file:///a/b@c:d and a:b@c", None),
    ],
)
def test_credentials_of_urls(text: str, expected: str | None) -> None:
    assert redacted(text) == (text if expected is None else expected)
    assert has_credentials(text) == (expected is not None)


def test_what_is_said_to_be_a_secret(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    hide("canary-of-this-test")
    hide("short")
    error = StageError("Look at canary-of-this-test.", "It is short: canary-of-this-test.")
    assert str(error) == "Look at ***. It is short: ***."
    assert error.problem == "Look at ***."
    record = logging.LogRecord("kdspark", logging.INFO, "x", 1, "%s", ("canary-of-this-test",), None)
    assert Redaction("%(message)s").format(record) == "***"
    try:
        raise RuntimeError("canary-of-this-test")
    except RuntimeError as caught:
        print_redacted(type(caught), caught, caught.__traceback__)
    said = capsys.readouterr().err
    assert "RuntimeError: ***" in said
    assert "Traceback" in said
