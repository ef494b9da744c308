"""`deploy/lambda/README.md` and the template against the product: what they name exists, figures agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolproxy.settings import DatabaseSettings, Settings, UserSettings, load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "lambda"
PAGE = (FOLDER / "README.md").read_text("utf-8")
HANDLER = (FOLDER / "handler.py").read_text("utf-8")
FIELDS = {**UserSettings.model_fields, **DatabaseSettings.model_fields, **Settings.model_fields}
PASSWORD = {"POOLPROXY_USERS__APP__PASSWORD": "a password"}

#: Names in the page that are not poolproxy's.
OTHERS = {"max_connections", "get_remaining_time_in_millis"}


class Template(yaml.SafeLoader):
    """CloudFormation's short functions as (name, value)."""


def short(loader: Template, suffix: str, node: yaml.Node) -> tuple[str, Any]:
    assert isinstance(node, yaml.ScalarNode)
    return suffix, loader.construct_scalar(node)


Template.add_multi_constructor("!", short)


@pytest.fixture
def template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.load((FOLDER / "template.yaml").read_text("utf-8"), Template)
    return parsed


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """What the page says to set, as the loader takes it: a file, and a password from the environment."""
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    file = tmp_path / "poolproxy.toml"
    file.write_text(block, "utf-8")
    return load(file, PASSWORD)


def constant(name: str) -> float:
    (value,) = re.findall(rf"(?m)^{name} = ([\d.]+)", HANDLER)
    return float(value)


def seconds(text: str) -> float:
    return float(text.replace(",", "").removesuffix(" s"))


def timeouts() -> dict[str, list[float | None]]:
    """The rows of the table: what is advised for asynchronous events and for an API."""
    rows = re.findall(r"(?m)^\| ([^|]+) \| (- |\d[\d,]* s )\| (\d[\d,]* s) \|", PAGE)
    return {
        re.sub(r".*`(\w+)`.*", r"\1", name): [
            None if shown.strip() == "-" else seconds(shown.strip()) for shown in found
        ]
        for name, *found in rows
    }


def test_the_settings_are_accepted_and_serve_the_function(settings: Settings) -> None:
    assert settings.user_passwords() == {"app": PASSWORD["POOLPROXY_USERS__APP__PASSWORD"]}
    places = {(each.location.host, each.location.port) for each in settings.databases.values()}
    assert places == {("db.internal", 5432)}
    (url,) = re.findall(r"`postgres://app:password@poolproxy\.internal:(\d+)/(\w+)`", PAGE)
    assert url == (str(settings.listen_port), "app")
    assert "app" in settings.databases


def test_every_setting_that_it_names_exists(tmp_path: Path) -> None:
    named = set(re.findall(r"`(?:\w+ = )?([a-z]+(?:_[a-z]+)+)(?: = [^`]+)?`", PAGE))
    assert named - OTHERS <= FIELDS.keys()
    assert len(named & FIELDS.keys()) >= 12
    (variable,) = re.findall(r"`POOLPROXY_(\w+)_FILE`", PAGE)
    file = tmp_path / "secret"
    file.write_text("of a file", "utf-8")
    read = load(None, {"DATABASE_URL": "postgres://db.internal/app", f"POOLPROXY_{variable}_FILE": str(file)})
    assert read.user_passwords() == {"app": "of a file"}
    assert PASSWORD.keys() == set(re.findall(r"`(POOLPROXY_\w+(?<!_FILE))`", PAGE))


def test_defaults_that_it_quotes_are_the_defaults() -> None:
    quoted = re.findall(r"`(tcp_\w+|idle_client_timeout)`[^`.(]*\(([\d,]+) (?:s|probes)\)", PAGE)
    assert {name for name, _ in quoted} == {
        "tcp_keepalive_idle",
        "tcp_keepalive_interval",
        "tcp_keepalive_count",
        "tcp_user_timeout",
        "idle_client_timeout",
    }
    for name, value in quoted:
        assert seconds(value) == FIELDS[name].default, name
    (borrow,) = re.findall(r"its default of (\d+) s outlives", PAGE)
    assert float(borrow) == FIELDS["connection_borrow_timeout"].default
    assert timeouts()["server_rescue_timeout"] == [FIELDS["server_rescue_timeout"].default] * 2
    assert FIELDS["client_loss"].default == "finish"


def test_a_silent_client_is_given_up_when_it_says() -> None:
    """With a user timeout Linux gives up when a second probe is due and finds it exceeded, however many may
    stay unanswered (net/ipv4/tcp_timer.c, tcp_keepalive_timer)."""
    idle, interval = FIELDS["tcp_keepalive_idle"].default, FIELDS["tcp_keepalive_interval"].default
    assert idle < 350 > FIELDS["tcp_user_timeout"].default
    assert idle + interval > FIELDS["tcp_user_timeout"].default
    (given_up,) = re.findall(r"(\d+) s after it was last heard", PAGE)
    assert float(given_up) == idle + interval


def test_timeouts_are_nested(settings: Settings, template: dict[str, Any]) -> None:
    """Each is longer than the one inside it; table, template, handler and settings say the same."""
    table = timeouts()
    assert list(table) == [
        "API Gateway",
        "Timeout",
        "handler's deadline",
        "connection_borrow_timeout",
        "idle_transaction_timeout",
        "server_rescue_timeout",
    ]
    gateway, function, deadline, borrow = list(table.values())[:4]
    for column, database in enumerate(("app", "api")):
        limits = [gateway[column], function[column], deadline[column], borrow[column]]
        known = [limit for limit in limits if limit is not None]
        assert known == sorted(known, reverse=True)
        assert len(set(known)) == len(known)
        assert function[column] - deadline[column] == constant("RESERVE")  # type: ignore[operator]
        assert deadline[column] - borrow[column] > constant("UNANSWERED")  # type: ignore[operator]
        entry = settings.databases[database]
        assert (entry.connection_borrow_timeout or settings.connection_borrow_timeout) == borrow[column]
    assert table["idle_transaction_timeout"] == [settings.idle_transaction_timeout] * 2
    assert template["Resources"]["Store"]["Properties"]["Timeout"] == function[0]


def test_the_template_fits_the_folder(template: dict[str, Any]) -> None:
    function = template["Resources"]["Store"]["Properties"]
    module, _, name = function["Handler"].partition(".")
    assert re.search(rf"(?m)^def {name}\(event", (FOLDER / f"{module}.py").read_text("utf-8"))
    assert function["CodeUri"] == "."
    assert set(function["Environment"]["Variables"]) == set(re.findall(r'environ\["(\w+)"\]', HANDLER))
    references = re.findall(r"!(?:Ref|GetAtt) (\w+)", (FOLDER / "template.yaml").read_text("utf-8"))
    assert set(references) <= template["Resources"].keys() | template["Parameters"].keys()
    assert set(template["Parameters"]) - set(references) == {"DatabaseSecret"}
    on_failure = function["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
    assert on_failure == {"Type": "SQS", "Destination": ("GetAtt", "Failed.Arn")}


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)(#[\w-]+)?\)", PAGE)
    for path, anchor in links:
        target = FOLDER / path
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", target.read_text("utf-8"))
            assert anchor[1:] in {heading.lower().replace(" ", "-") for heading in headings}, anchor
    files = {path.name for path in FOLDER.iterdir() if path.is_file() and path.name != "README.md"}
    assert files <= {path for path, _ in links}
