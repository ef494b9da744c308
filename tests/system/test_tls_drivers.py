"""Drivers of other languages over TLS: Node's pg and pgjdbc believe our certificate, and no stranger's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.certificates import Certificates
from tests.support.cluster import DATABASE, PASSWORDS
from tests.support.proxy import ProxyProcess, tls_settings
from tests.support.stage import Stage
from tests.system.programs import tools
from tests.system.programs.catalogue import JDBC_JAR

NODE = """
import fs from 'fs'
import pg from 'pg'
const [url, ca] = process.argv.slice(2)
const client = new pg.Client({ connectionString: url, ssl: { ca: fs.readFileSync(ca) } })
await client.connect()
const { rows: [row] } = await client.query("select repeat('x', 1000000) as text")
console.log(client.connection.stream.getProtocol(), row.text.length)
await client.end()
"""

JAVA = """
import java.sql.*;
public class Tls {
    public static void main(String[] arguments) throws SQLException {
        try (Connection c = DriverManager.getConnection(arguments[0]); Statement s = c.createStatement()) {
            ResultSet r = s.executeQuery("select repeat('x', 1000000)");
            r.next();
            System.out.println("in " + r.getString(1).length());
        }
    }
}
"""


@pytest.fixture
def proxy(stage: Stage, certificates: Certificates) -> ProxyProcess:
    stage.expect_log("TLS|login")
    return stage.proxy(**tls_settings(certificates, "require"))


def said(*command: str, folder: Path) -> tuple[bool, str]:
    """Whether it ended well, and what it said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        command, cwd=folder, env=kept, capture_output=True, text=True, timeout=55, check=False
    )
    return done.returncode == 0, done.stdout + done.stderr


def test_node(proxy: ProxyProcess, certificates: Certificates, tmp_path: Path) -> None:
    for path in tools.node().iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "tls.js").write_text(NODE)
    options = ("--preserve-symlinks", "--preserve-symlinks-main", "tls.js", proxy.url())
    program = tools.program("node")
    assert said(program, *options, str(certificates.ca), folder=tmp_path) == (True, "TLSv1.3 1000000\n")
    well, text = said(program, *options, str(certificates.stranger_ca), folder=tmp_path)
    assert not well
    assert "certificate" in text


def test_jdbc(proxy: ProxyProcess, certificates: Certificates, tmp_path: Path) -> None:
    source = tmp_path / "Tls.java"
    source.write_text(JAVA)
    found = {}
    for mode in ("disable", "require", "verify-ca", "verify-full", "stranger"):
        ca = certificates.stranger_ca if mode == "stranger" else certificates.ca
        url = (
            f"jdbc:postgresql://localhost:{proxy.port}/{DATABASE}?user=app&password={quote(PASSWORDS['app'])}"
            f"&sslmode={'verify-ca' if mode == 'stranger' else mode}&sslrootcert={ca}"
        )
        program = tools.program("java")
        well, text = said(program, "-cp", str(JDBC_JAR), str(source), url, folder=tmp_path)
        found[mode] = text.strip() if well else "refused"
    assert found == {
        "disable": "refused",
        "require": "in 1000000",
        "verify-ca": "in 1000000",
        "verify-full": "in 1000000",
        "stranger": "refused",
    }
