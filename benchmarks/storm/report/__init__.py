"""What a run looks like on paper: a page, a table to paste, a picture.

`page` is the whole report as one HTML file and `picture` one scenario as an SVG, made of `score` (who wins),
`panels` (which plots there are), `chart` (one plot), `tables` and `palette`; `series` and `scales` are the
arithmetic, `markup` escapes. Reads results and nothing else: what is not in a `Run` is not in the report.
"""

from __future__ import annotations

from benchmarks.storm.report.page import page
from benchmarks.storm.report.picture import picture
from benchmarks.storm.report.section import section
from benchmarks.storm.report.tables import summary_markdown

__all__ = ["page", "picture", "section", "summary_markdown"]
