"""psql with every sslmode through the proxy, as it gets into PostgreSQL itself (see test_tls_truth)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import Certificates
from tests.support.libpq import MODES, Host, Psql, Way, every_way, other_hosts, surprises
from tests.support.proxy import tls_settings
from tests.support.stage import Stage
from tools.postgres_with_tls import binaries


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mode", MODES)
def test_every_way_in(stage: Stage, certificates: Certificates, tmp_path: Path, mode: str) -> None:
    stage.expect_log("TLS|28000|certificate|login")
    rules = tmp_path / "rules"
    rules.write_text("host all md5user all md5\nhost all all all scram-sha-256\n")
    crl = str(certificates.client_crl)
    proxy = stage.fresh(**tls_settings(certificates, mode, tls_crl_file=crl, auth_hba_file=str(rules)))
    psql = Psql(binaries(), certificates)
    found = {way: psql(way, proxy.address) for way in every_way()}
    assert not surprises(found, Host(mode))


@pytest.mark.parametrize("mode", MODES)
def test_whom_psql_does_not_believe(stage: Stage, certificates: Certificates, mode: str) -> None:
    stage.expect_log("TLS|28000|certificate|login")
    psql = Psql(binaries(), certificates)
    found: dict[Host, dict[Way, tuple[str, ...]]] = {}
    for way, host in other_hosts(mode):
        proxy = stage.proxy(**tls_settings(certificates, host.mode, getattr(certificates, host.identity)))
        found.setdefault(host, {})[way] = psql(way, proxy.address)
    assert not "".join(surprises(ways, host) for host, ways in found.items())
