"""The compose file, what it mounts, and the README against the product: what they name must exist and fit."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from poolproxy.settings import Settings, load
from poolproxy.tls import TlsFiles, client_context
from tests.system.sources import ROOT

pytestmark = pytest.mark.system

DEPLOY = ROOT / "deploy"
PASSWORD = "a-Password_1"
DEFAULTS = Settings.model_fields
TLS = {"POOLPROXY_TLS_CERT_FILE": "/tls/server.crt", "POOLPROXY_TLS_KEY_FILE": "/tls/server.key"}


def default(name: str) -> Any:
    return DEFAULTS[name].default


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of compose.yaml, with POSTGRES_PASSWORD set as its opening comment says."""
    text = re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]*\}", PASSWORD, (DEPLOY / "compose.yaml").read_text())
    assert "${" not in text
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def all_keys(value: Any, key: str) -> Iterator[Any]:
    """Every value under `key`, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from all_keys(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from all_keys(inner, key)


def published(service: dict[str, Any]) -> set[int]:
    """The container ports of a service; all of them must be published on loopback."""
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    return {int(port.rpartition(":")[2]) for port in service["ports"]}


def test_compose_settings_are_accepted(services: dict[str, Any]) -> None:
    environment = services["poolproxy"]["environment"]
    settings = load(None, environment, {})
    assert settings.user_passwords() == {"app": PASSWORD}

    postgres = services["postgres"]
    (database,) = settings.databases.values()
    where = database.location
    assert (where.host, where.port) == ("postgres", 5432)
    assert set(settings.databases) == {postgres["environment"]["POSTGRES_DB"]}
    assert set(settings.user_passwords()) == {postgres["environment"]["POSTGRES_USER"]}
    assert postgres["environment"]["POSTGRES_PASSWORD"] == PASSWORD


def test_compose_shows_the_defaults(services: dict[str, Any]) -> None:
    environment = services["poolproxy"]["environment"]
    shown = {name: value for name, value in environment.items() if name.startswith("POOLPROXY_")}
    assert shown.keys() > TLS.keys()
    for name, value in shown.items() - TLS.items():
        assert int(value) == default(name.removeprefix("POOLPROXY_").lower()), name


def test_compose_ports_limits_and_grace(services: dict[str, Any]) -> None:
    proxy = services["poolproxy"]
    assert published(proxy) == {default("listen_port"), default("http_port")}
    assert published(services["prometheus"]) == {9090}
    assert published(services["grafana"]) == {3000}
    assert proxy["ulimits"]["nofile"] > default("max_client_connections")
    assert int(proxy["stop_grace_period"].removesuffix("s")) > default("drain_timeout")
    assert proxy["read_only"] is True
    assert proxy["cap_drop"] == ["ALL"]


def made_certificate(services: dict[str, Any], folder: Path) -> tuple[Path, str]:
    """What the service `certificate` leaves in that folder, run here, and whom it gives the key to: only root
    could do that."""
    programs = folder.with_name(f"{folder.name}-programs")
    programs.mkdir(exist_ok=True)
    given = programs / "given"
    (programs / "chown").write_text(f'#!/bin/sh\nprintf %s "$*" >{shlex.quote(str(given))}\n')
    (programs / "chown").chmod(0o755)
    service = services["certificate"]
    (script,) = service["command"]
    (mount,) = service["volumes"]
    command = [*service["entrypoint"], script.replace(mount.partition(":")[2], str(folder))]
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "server.crt", given.read_text() if given.exists() else ""


def test_compose_makes_a_certificate_that_clients_can_check(services: dict[str, Any], tmp_path: Path) -> None:
    certificate, given = made_certificate(services, tmp_path)
    account = re.search(r"(?m)^USER (\S+)$", (ROOT / "Dockerfile").read_text())
    assert account is not None
    assert given == f"{account[1]} server.key.new"
    key = tmp_path / "server.key"
    assert {path.name for path in tmp_path.iterdir()} == {"server.crt", "server.key"}
    assert key.stat().st_mode & 0o077 == 0
    served = client_context(TlsFiles(str(certificate), str(key), "", "", "TLSv1.2"))
    for name in ("127.0.0.1", "localhost", "poolproxy"):
        assert handshake(served, certificate, name) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(served, certificate, "db.example")


def test_compose_makes_another_one_in_time_and_not_before(services: dict[str, Any], tmp_path: Path) -> None:
    certificate, _ = made_certificate(services, tmp_path)
    first = certificate.read_text()
    assert made_certificate(services, tmp_path)[0].read_text() == first
    soon = ["openssl", "x509", "-in", str(certificate), "-signkey", str(tmp_path / "server.key")]
    subprocess.run([*soon, "-days", "29", "-out", str(certificate)], capture_output=True, check=True)
    ends_soon = certificate.read_text()
    assert made_certificate(services, tmp_path)[0].read_text() not in (first, ends_soon)


def handshake(served: ssl.SSLContext, authority: Path, name: str) -> str | None:
    """With a client that believes this one and calls the server so: the version that they speak."""
    believing = ssl.create_default_context(cafile=str(authority))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = believing.wrap_bio(to_client, to_server, server_hostname=name)
    server = served.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client.version()


def test_compose_starts_poolproxy_with_the_certificate_that_is_made(services: dict[str, Any]) -> None:
    made, proxy = services["certificate"], services["poolproxy"]
    settings = load(None, proxy["environment"], {})
    assert (settings.tls_cert_file, settings.tls_key_file) == tuple(TLS.values())
    assert settings.client_tls_mode == "prefer"  # who cannot speak TLS gets in too
    (volume,) = made["volumes"]
    assert proxy["volumes"] == [f"{volume}:ro"]
    assert {Path(path).parent for path in TLS.values()} == {Path(volume.partition(":")[2])}
    assert proxy["depends_on"]["certificate"] == {"condition": "service_completed_successfully"}
    assert made["image"] == services["postgres"]["image"]  # nothing else is fetched for it


def test_compose_paths_exist(services: dict[str, Any]) -> None:
    assert (DEPLOY / services["poolproxy"]["build"] / "Dockerfile").exists()
    mounts = [volume for service in services.values() for volume in service.get("volumes", [])]
    declared = set(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["volumes"])
    for source in (mount.split(":")[0] for mount in mounts):
        assert (DEPLOY / source).is_dir() if source.startswith(".") else source in declared, source


def test_opening_comment_of_compose_fits(services: dict[str, Any]) -> None:
    comment = "".join((DEPLOY / "compose.yaml").read_text().partition("name:")[0])
    urls = re.findall(r"postgres://[^\s\"]+", comment)
    assert len(urls) == 2
    for url in urls:
        parts = urlsplit(url)
        assert parts.port == default("listen_port")
        assert parts.path == f"/{services['postgres']['environment']['POSTGRES_DB']}"
    assert f"cp poolproxy:{TLS['POOLPROXY_TLS_CERT_FILE']} ." in comment
    for name in TLS.values():
        assert Path(name).name in comment
    for port in re.findall(r"http://127\.0\.0\.1:(\d+)", comment):
        assert any(int(port) in published(services[name]) for name in ("grafana", "prometheus"))


def test_prometheus_scrapes_poolproxy(services: dict[str, Any]) -> None:
    inside = Path("/etc/prometheus")
    assert f"--config.file={inside}/prometheus.yml" in services["prometheus"]["command"]
    assert f"./prometheus:{inside}:ro" in services["prometheus"]["volumes"]
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = [target for targets in all_keys(config["scrape_configs"], "targets") for target in targets]
    assert f"poolproxy:{default('http_port')}" in targets
    for path in all_keys(config["scrape_configs"], "metrics_path"):
        assert path == "/metrics"
    for name in config.get("rule_files", []):
        assert (
            DEPLOY / "prometheus" / Path(name).relative_to(inside if Path(name).is_absolute() else ".")
        ).exists()


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    # Absolute paths in it are those inside the container.
    for file in (DEPLOY / "prometheus").iterdir():
        (tmp_path / file.name).write_text(file.read_text().replace("/etc/prometheus", str(tmp_path)))
    done = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_grafana_provisioning(services: dict[str, Any]) -> None:
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    provisioning = DEPLOY / "grafana" / "provisioning"
    sources = [yaml.safe_load(file.read_text()) for file in (provisioning / "datasources").iterdir()]
    (url,) = (url for source in sources for url in all_keys(source, "url"))
    assert urlsplit(url).hostname in services
    assert urlsplit(url).port in published(services["prometheus"])

    folders = [yaml.safe_load(file.read_text()) for file in (provisioning / "dashboards").iterdir()]
    (folder,) = (path for source in folders for path in all_keys(source, "path"))
    assert folder == mounts["./grafana/dashboards"]
    dashboards = [json.loads(file.read_text()) for file in (DEPLOY / "grafana" / "dashboards").glob("*.json")]
    assert dashboards
    known = {uid for source in sources for uid in all_keys(source, "uid")}
    used = {place["uid"] for place in all_keys(dashboards, "datasource") if isinstance(place, dict)}
    assert {uid for uid in used if not uid.startswith(("$", "-- "))} <= known


def test_readme_shows_what_exists() -> None:
    """Commands, make targets, settings, links and ports of the README."""
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    assert set(re.findall(r"\bmake ([a-z-]+)(?= |$|`)", readme, re.M)) <= targets
    for link in re.findall(r"\]\(([^)#:]+)\)", readme) + re.findall(r'src="([^"]+)"', readme):
        assert (ROOT / link).exists(), link
    rows = re.findall(r"(?m)^\| `(\w+)` \| ([^|]+) \|", readme)
    assert len(rows) == 10
    for name, shown in rows:
        value = default(name)
        assert shlex.split(shown)[0] == (f"{value:g}" if isinstance(value, float) else str(value)), name
    for name in re.findall(r"POOLPROXY_([A-Z][A-Z_]+)\b", readme):
        assert name == "NAME" or name.lower() in DEFAULTS, name
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    for name in re.findall(r"`(poolproxy_\w+)`", readme):
        assert f"`{name}`" in metrics, name
    assert set(re.findall(r"-p \d+:(\d+)", readme)) == {
        str(default("listen_port")),
        str(default("http_port")),
    }
