"""A handler that keeps everything is stopped by the stream: behind the shared buffer lies other memory."""

from __future__ import annotations

import subprocess
import sys

#: Fills a stream whose handler never consumes anything, far past the buffer. Run apart, because writing past
#: the buffer may end the process.
PROGRAM = """
import socket
from poolproxy.transport.poller import BUFFER_SIZE, Poller
from poolproxy.transport.stream import Handler, Stream

class Hoarder(Handler):
    kept = 0
    def on_data(self, buffer, end):
        assert end <= len(buffer), "told of more bytes than the buffer has"
        self.kept = max(self.kept, end)
        self.stream.keep(0, end)
    def on_drained(self): pass
    def on_lost(self, reason):
        lost.append(reason)

errors, lost = [], []
def on_error(pollable, error):
    errors.append(error)
    pollable.close()

poller = Poller(on_error)
near, far = socket.socketpair()
near.setblocking(False)
far.setblocking(False)
hoarder = Hoarder()
hoarder.stream = Stream(poller, near.detach(), hoarder)
for _ in range(400):
    try:
        far.send(b"x" * 65536)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    poller.wait(0.0)
assert hoarder.kept <= BUFFER_SIZE
print("stopped", bool(errors) or hoarder.stream.closed, "lost", lost)
"""


def test_what_is_kept_never_outgrows_the_buffer() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["stopped", "True", "lost", "[]"]
