"""Debian's chromium without a window, driven over its DevTools pipe (no port, no package).

The browser reads commands from descriptor 3 and writes answers and events to 4: JSON with a NUL behind each.
Must not know which pages are looked at.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 40.0
"""Seconds for one answer; the first, with a cold browser, takes the longest."""


class Broken(Exception):
    """The browser refused a command, said nothing for too long, or is gone."""


@dataclass(slots=True)
class Seen:
    """What a page did that a test may object to."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)  #: console errors, exceptions, the browser's own log


class Page:
    """One tab. `seen` grows with every event that is read."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._last = 0
        self._session: str | None = None
        self._loaded = False
        self.seen = Seen()

    def attach(self) -> None:
        """Open a tab and have it report."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """What screen it is on, in CSS pixels, and which scheme its owner prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path) -> None:
        """Load a file, and wait until its load event."""
        self._loaded = False
        self.send("Page.navigate", url=path.resolve().as_uri())
        deadline = time.monotonic() + PATIENCE
        while not self._loaded:
            self._take(deadline)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, as JSON; a promise is awaited."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise Broken(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def move_to(self, x: float, y: float) -> None:
        """Move the pointer there, in CSS pixels of the window."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """A PNG of the whole page, or of the window."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def send(self, method: str, **parameters: Any) -> Any:
        """One command, and its answer; events that come before it are taken, too."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        data = json.dumps(command).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self._take(deadline)
            if message.get("id") == self._last:
                if "error" in message:
                    raise Broken(f"{method}: {message['error']}")
                return message["result"]

    def _take(self, deadline: float) -> dict[str, Any]:
        """The next message; events are noted."""
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Broken(f"the browser said nothing for {PATIENCE:g} s")
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise Broken("the browser is gone")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, details: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.seen.requests.append(details["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.seen.complaints.append(json.dumps(details["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and details["type"] in ("error", "assert", "warning"):
            self.seen.complaints.append(json.dumps(details["args"]))
        elif event == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
            self.seen.complaints.append(details["entry"]["text"])


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with a profile of its own and one tab; gone afterwards."""
    command_out, command_in = os.pipe()
    answer_out, answer_in = os.pipe()
    # The shell puts the two ends on 3 and 4, where chromium looks for them, whatever their numbers are here.
    wiring = f'exec chromium "$@" 3<&{command_out} 4>&{answer_in}'
    process = subprocess.Popen(
        ["bash", "-c", wiring, "chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(command_out, answer_in),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_out)
    os.close(answer_in)
    page = Page(command_in, answer_out)
    try:
        page.attach()
        yield page
        page._session = None
        page.send("Browser.close")
        process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(command_in)
        os.close(answer_out)
