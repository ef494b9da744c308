"""The generated pages say what the code says; each setting is on its page."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from poolproxy.errors import told_errors
from poolproxy.settings import DatabaseSettings, Settings, UserSettings
from tools import generate_docs


def test_generated_pages_are_in_step() -> None:
    assert generate_docs.outdated() == [], "run python -m tools.generate_docs"


def test_check_fails_on_a_difference_and_writing_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_docs, "DOCS", tmp_path)
    assert generate_docs.main(["--check"]) == 1
    assert "docs/settings.md is out of step" in capsys.readouterr().err
    assert generate_docs.main([]) == 0
    assert generate_docs.main(["--check"]) == 0
    (tmp_path / "settings.md").write_text("old")
    assert generate_docs.main(["--check"]) == 1
    assert generate_docs.main(["--what"]) == 2


@pytest.mark.parametrize("model", [Settings, DatabaseSettings, UserSettings])
def test_every_setting_is_on_the_page(model: type[Settings | DatabaseSettings | UserSettings]) -> None:
    text = dict(generate_docs.pages())["settings"]
    tables = {"databases", "users"}
    assert not [name for name in model.model_fields.keys() - tables if f"| `{name}` |" not in text]


def test_every_error_of_the_page_is_made_somewhere() -> None:
    """The page is made from the classes: one that nobody raises would promise a message that never comes."""
    package = Path(__file__).parents[2] / "poolproxy"
    used = {
        node.id
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Name)
    }
    assert {error.__name__ for error in told_errors()} <= used
