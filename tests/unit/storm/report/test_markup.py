"""Markup, escaped once."""

from __future__ import annotations

from benchmarks.storm.report.markup import Markup, join, tag


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", 'a < b & "c"', tag("b", "d>")) == '<p>a &lt; b &amp; "c"<b>d&gt;</b></p>'
    assert join("<", Markup("<"), None) == "&lt;<"


def test_attributes() -> None:
    made = tag("x", cls="a b", data_name='"quoted"', left_out=None, width=1.5, whole=2.0, count=3)
    assert made == '<x class="a b" data-name="&quot;quoted&quot;" width="1.5" whole="2" count="3"></x>'
    assert tag("rect", x=-0.001) == '<rect x="-0"></rect>'


def test_a_name_can_be_an_attribute_and_void_elements_have_no_end() -> None:
    assert tag("meta", name="viewport") == '<meta name="viewport">'
