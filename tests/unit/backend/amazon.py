"""An AWS that nobody reaches: credentials that are made up, and none of the machine that the tests run on."""

from __future__ import annotations

import os

import pytest

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIATEST",
    "AWS_SECRET_ACCESS_KEY": "made up",
    "AWS_SESSION_TOKEN": "made up, too",
}


def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what botocore would find here."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
