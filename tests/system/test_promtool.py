"""Prometheus' own tool on what we show and ship: metrics, scrape configuration, alerts and every query."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from poolproxy.metrics import families, render
from tests.fakes.snapshots import BusySource
from tests.unit.test_metrics import expressions
from tools.docs_metrics import RDS_PROXY

pytestmark = pytest.mark.system

HERE = Path(__file__).resolve().parent
DEPLOY = HERE.parents[1] / "deploy"
#: What Grafana puts in for its variables.
GRAFANA = {"$__rate_interval": "1m", "$instance": ".*", "$database": ".*", "$user": ".*"}


def promtool(*arguments: str | Path, text: bytes = b"") -> str:
    """What promtool says; AssertionError when it is not content."""
    done = subprocess.run(
        ["promtool", *map(str, arguments)], input=text, capture_output=True, timeout=50, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def test_metrics() -> None:
    text = b"".join(asyncio.run(render(BusySource(pools=3), False)))
    for _, family in families():
        assert family.name.encode() in text
    assert promtool("check", "metrics", text=text) == ""


def test_promtool_would_complain(tmp_path: Path) -> None:
    """The check above can fail."""
    with pytest.raises(AssertionError, match="total"):
        promtool("check", "metrics", text=b"# HELP a_b Help.\n# TYPE a_b counter\na_b 1\n")


def test_scrape_configuration_and_alerts() -> None:
    said = promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert "1 rule files found" in said


def test_alerts_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", HERE / "alerts_test.yml")


def test_every_alert_is_tried() -> None:
    alerts = {
        line.split()[-1]
        for line in (DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8").splitlines()
        if line.strip().startswith("- alert:")
    }
    tried = (HERE / "alerts_test.yml").read_text("utf-8")
    assert alerts == {name for name in alerts if f"alertname: {name}\n        exp_alerts:" in tried}


def queries() -> list[str]:
    """Every query of the dashboard and of the page for those who come from RDS Proxy."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "poolproxy.json").read_text("utf-8"))
    found = [query for query in expressions(dashboard["panels"]) if "poolproxy_" in query]
    for variable, value in GRAFANA.items():
        found = [query.replace(variable, value) for query in found]
    return found + [query for _, query, _ in RDS_PROXY if query]


def test_queries_are_promql(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    assert len(rules) > 60
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))  # JSON is YAML
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
