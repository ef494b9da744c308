"""The storm's report in a real browser: on a desk and on a phone, in light and in dark, without a network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.storm.compare import compare
from benchmarks.storm.report import page, picture, summary_markdown
from benchmarks.storm.report.palette import DARK_ROLES, LIGHT_ROLES
from benchmarks.storm.report.panels import KINDS
from benchmarks.storm.results import Run, TargetInfo
from tests.support.chromium import Page, Seen, browser
from tests.unit.storm.fixture import make_run

pytestmark = pytest.mark.system

DESK, PHONE = (1280, 900), (390, 844)
SCREENS = {
    "desk, light": (DESK, False),
    "desk, dark": (DESK, True),
    "phone, light": (PHONE, False),
    "phone, dark": (PHONE, True),
}

#: Everything that a test wants to know of the page, measured by the browser.
MEASURE = """(() => {
  const box = (element) => element.getBoundingClientRect();
  const within = (a, b, from, to) => a[from] < b[to] - 1 && b[from] < a[to] - 1;
  const covers = (a, b) => within(a, b, "left", "right") && within(a, b, "top", "bottom");
  const overlaps = (boxes) => boxes.some((a, i) => boxes.slice(i + 1).some((b) => covers(a, b)));
  const shown = (element) => element.checkVisibility() && box(element).width > 0 && box(element).height > 0;
  const root = document.documentElement;
  return {
    overflow: root.scrollWidth - window.innerWidth,
    width: window.innerWidth,
    background: getComputedStyle(root).backgroundColor,
    title: document.querySelector("h1").textContent,
    plots: [...document.querySelectorAll("figure")].map((figure) => ({
      name: figure.dataset.plot,
      strokes: [...figure.querySelectorAll(".stroke")].map((stroke) => ({
        target: stroke.dataset.target,
        points: Number(stroke.dataset.points),
        width: stroke.getBBox().width,
        colour: getComputedStyle(stroke).stroke,
      })),
      text: Math.min(...[...figure.querySelectorAll("text")].map(
        (text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)),
      right: Math.max(...[...figure.querySelectorAll("text")].map((text) => box(text).right)),
      left: Math.min(...[...figure.querySelectorAll("text")].map((text) => box(text).left)),
      overlaps: overlaps([...figure.querySelectorAll("text")].map(box)),
    })),
    tables: [...document.querySelectorAll("table")].filter(shown).length,
    overall: [...document.querySelectorAll("#overall tbody tr")].filter(shown)
      .map((row) => row.cells[0].textContent),
    clipped: [...document.querySelectorAll(".card th, .card td")]
      .filter((cell) => !cell.querySelector(".unseen, .scale, .rail"))
      .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).length,
    crowded: [...document.querySelectorAll(".card tr")].filter((row) => overlaps(
      [...row.cells].filter((cell) => !cell.querySelector(".unseen")).map((cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return box(range);
      }))).length,
    ticks: [...document.querySelectorAll(".scale")]
      .filter((scale) => overlaps([...scale.children].map(box))).length,
  };
})()"""


@dataclass(slots=True)
class Look:
    """The report on one screen."""

    measured: dict[str, Any]
    seen: Seen
    file: Path
    run: Run
    dark: bool
    width: int


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def run() -> Run:
    """Two targets more than usual, one with a name that is too long for a plot."""
    made = make_run(rounds=3, seconds=12)
    for name in ("rds-proxy-behind-a-long-name", "other"):
        made.targets[name] = TargetInfo("behind --dsn")
        made.trials += [
            type(trial)(**{**{field: getattr(trial, field) for field in trial.__slots__}, "target": name})
            for trial in made.trials
            if trial.target == "pgbouncer"
        ]
    return made


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("report") / "storm.html"
    written.write_text(page(run, compare(run, run)), "utf-8")
    return written


@pytest.fixture(scope="module", params=SCREENS)
def look(request: pytest.FixtureRequest, tab: Page, file: Path, run: Run) -> Look:
    (width, height), dark = SCREENS[request.param]
    tab.look(width, height, dark)
    tab.seen = Seen()
    tab.open(file)
    # For whoever wants to look for himself: pytest keeps the folders of its last three runs.
    tab.screenshot(file.with_name(f"{request.param.replace(', ', '-')}.png"))
    return Look(tab.value(MEASURE), tab.seen, file, run, dark, width)


def test_it_loads_itself_alone_and_complains_of_nothing(look: Look) -> None:
    assert look.seen.requests == [look.file.as_uri()]
    assert look.seen.complaints == []


def test_it_is_no_wider_than_the_screen(look: Look) -> None:
    assert look.measured["width"] == look.width
    assert look.measured["overflow"] <= 0


def test_it_follows_the_scheme(look: Look) -> None:
    wanted = (DARK_ROLES if look.dark else LIGHT_ROLES)["bg"]
    red, green, blue = (int(wanted[at : at + 2], 16) for at in (1, 3, 5))
    assert look.measured["background"] == f"rgb({red}, {green}, {blue})"


def test_every_plot_has_a_line_with_points_for_every_target_that_it_knows(look: Look) -> None:
    plots = {plot["name"]: plot["strokes"] for plot in look.measured["plots"]}
    assert list(plots) == [f"{scenario}-{kind.name}" for scenario in look.run.scenarios for kind in KINDS]
    for name, strokes in plots.items():
        unknown = {"direct"} if name.partition("-")[2] in ("waiting", "cpu", "memory") else set()
        assert {stroke["target"] for stroke in strokes} == set(look.run.targets) - unknown
        assert all(stroke["points"] >= 10 and stroke["width"] > 100 for stroke in strokes), name


def test_a_target_has_one_colour_in_all_plots_and_no_other_has_it(look: Look) -> None:
    colours: dict[str, set[str]] = {}
    for plot in look.measured["plots"]:
        for stroke in plot["strokes"]:
            colours.setdefault(stroke["target"], set()).add(stroke["colour"])
    assert all(len(found) == 1 for found in colours.values())
    assert len(set.union(*colours.values())) == len(look.run.targets)


def test_text_in_plots_is_large_enough_inside_the_page_and_never_covered(look: Look) -> None:
    for plot in look.measured["plots"]:
        assert plot["text"] >= 10.5, plot["name"]
        assert plot["left"] >= 0, plot["name"]
        assert plot["right"] <= look.width, plot["name"]
        assert not plot["overlaps"], plot["name"]


def test_the_score_is_there_and_nothing_in_it_is_cut_off(look: Look) -> None:
    assert look.measured["title"].startswith("poolproxy wins ")
    assert look.measured["overall"] == list(look.run.targets)
    # All together, one card and one table of figures per scenario; all that did not change is folded away.
    assert look.measured["tables"] == 1 + 2 * len(look.run.scenarios)
    assert (look.measured["clipped"], look.measured["crowded"], look.measured["ticks"]) == (0, 0, 0)


def test_a_pointer_over_a_plot_reads_values(look: Look, tab: Page) -> None:
    """Uses whatever screen is on."""
    place = tab.value(
        "(() => { const svg = document.querySelector('figure[data-plot=ramp-servers] svg');"
        "svg.scrollIntoView({block: 'center'}); const b = svg.getBoundingClientRect();"
        "return [b.left + b.width * 0.4, b.top + b.height / 2]; })()"
    )
    tab.move_to(*place)
    hover = tab.value(
        "(() => { const h = document.getElementById('hover'), b = h.getBoundingClientRect();"
        "return {hidden: h.hidden, text: h.innerText, left: b.left, right: b.right}; })()"
    )
    assert hover["hidden"] is False
    lines = hover["text"].split("\n")
    assert lines[0].endswith("s")
    assert lines[1:4] == ["direct\u2003100", "pgbouncer\u200320", "poolproxy\u200320"]
    assert hover["left"] >= 0
    assert hover["right"] <= look.width
    tab.move_to(1, 1)
    assert tab.value("document.getElementById('hover').hidden") is True


def test_the_button_takes_the_table_along(look: Look, tab: Page) -> None:
    x, y = tab.value(
        "(() => { const button = document.getElementById('copy'); button.scrollIntoView({block: 'center'});"
        "const b = button.getBoundingClientRect(); return [b.left + 5, b.top + 5]; })()"
    )
    tab.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    tab.click(x, y)
    said = tab.value(
        "new Promise((done) => setTimeout(() => done(document.getElementById('copy').textContent), 200))"
    )
    assert said == "Copied"
    assert tab.value("navigator.clipboard.readText()") == summary_markdown(look.run)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("columns", [1, 2])
def test_the_picture_stands_alone(tab: Page, run: Run, tmp_path: Path, columns: int, dark: bool) -> None:
    drawn = tmp_path / "storm.svg"
    drawn.write_text(picture(run, "ramp", columns), "utf-8")
    tab.look(900, 900, dark)
    tab.seen = Seen()
    tab.open(drawn)
    tab.screenshot(tmp_path / "storm.png")
    assert tab.seen == Seen(requests=[drawn.as_uri()], complaints=[])
    found = tab.value(
        "(() => { const box = (e) => e.getBoundingClientRect();"
        "const sheet = box(document.querySelector('.sheet'));"
        "return {outside: [...document.querySelectorAll('text')].filter((t) =>"
        " box(t).left < sheet.left || box(t).right > sheet.right || box(t).bottom > sheet.bottom"
        ").map((t) => t.textContent),"
        "ground: getComputedStyle(document.querySelector('.sheet')).fill,"
        "strokes: [...document.querySelectorAll('.stroke')]"
        ".filter((s) => s.getBBox().width > 100).length}; })()"
    )
    assert found["outside"] == []
    assert found["strokes"] == 4 * len(run.targets)
    assert (found["ground"] == "rgb(255, 255, 255)") is not dark


class _Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *args: object) -> None:
        """Nothing."""


def test_the_browser_would_have_told(tab: Page, tmp_path: Path) -> None:
    """What the tests above say is absent is seen when it is there."""
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/font.png"
    try:
        broken = tmp_path / "broken.html"
        broken.write_text(
            f"<!doctype html><h1>x</h1><div style='width:2000px'>wide</div><img src='{address}'>"
            "<script>console.error('said so'); throw new Error('thrown')</script>"
        )
        tab.look(*PHONE)
        tab.seen = Seen()
        tab.open(broken)
        assert tab.value("document.documentElement.scrollWidth") > PHONE[0]
        assert tab.seen.requests == [broken.as_uri(), address]
        told = "\n".join(tab.seen.complaints)
        assert [words for words in ("said so", "thrown") if words not in told] == [], told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
