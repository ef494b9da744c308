"""A section of RESULTS.md is replaced, and nothing else."""

from __future__ import annotations

from benchmarks.sections import replaced, section, titles

TEXT = (
    "# Results\n\nSome words.\n\n## Figures\n\none\n\n### Two\n\ntwo\n\n"
    "## Storms\n\nold\n\n## Configurations\n\nthree\n"
)


def test_the_body_of_a_section() -> None:
    assert section(TEXT, "Storms") == "old"
    assert section(TEXT, "Figures") == "one\n\n### Two\n\ntwo"
    assert section(TEXT, "Two") == "", "it is a part of another one"
    assert section(TEXT, "Nothing") == ""


def test_titles() -> None:
    assert titles(TEXT) == ["Figures", "Storms", "Configurations"]


def test_it_is_replaced_where_it_stands() -> None:
    assert replaced(TEXT, "Storms", "new\n") == TEXT.replace("old", "new")


def test_the_last_one_too() -> None:
    assert replaced(TEXT, "Configurations", "new") == TEXT.replace("three", "new")


def test_it_comes_last_where_there_was_none() -> None:
    assert replaced(TEXT, "More", "new") == TEXT + "\n## More\n\nnew\n"
    assert section(replaced(TEXT, "More", "new"), "More") == "new"
