"""Environments that vanish without FIN: a network namespace, and a link that is taken down.

What a NAT gateway or a firewall that has forgotten a flow does to it: what either side sends is lost, and
nobody says so, neither by RST nor by ICMP. The namespace and the host are joined by a veth pair. Taken down
is the namespace's end, so the host keeps its address and its route and sends into the void; in the namespace
a second, dead link takes over, so that what runs there hears nothing either. Neither end resolves addresses
(ARP): a neighbour that does not answer would be told to the sockets as EHOSTUNREACH.

    host  198.18.0.1 ── storm0 ═══ database ── 198.18.0.2  namespace
                                    nowhere ─╴ 198.18.0.0/15

The addresses are those set aside for benchmarks (RFC 2544, 198.18.0.0/15). Linux, iproute2 and root. The
calls block for some milliseconds; an event loop runs them in a thread. Must not know environments.
"""

from __future__ import annotations

import atexit
import contextlib
import ipaddress
import os
import re
import shutil
import subprocess
from types import TracebackType
from typing import Self

BLOCK = ipaddress.ip_network("198.18.0.0/15")
MOST = 64  #: namespaces at a time on one machine
LINK = "database"  #: the namespace's end of the pair
NOWHERE = "nowhere"  #: its dead link
#: Both ends have it: without ARP, frames go to the sender's own address.
HARDWARE_ADDRESS = "02:00:00:00:00:01"
TIMEOUT = 10.0  #: seconds for one call of ip
NAME = re.compile(r"storm-(\d+)-\d+$")  #: with the pid of its owner


class NamespaceFailed(Exception):
    """There can be no network namespace here; the message says why."""


class Namespace:
    """A namespace of our own: `open` makes it, `close` removes it with all its links, `with` does both.

    Processes run in it behind `command`. What listens on `host_address` can be reached from it, and nothing
    else.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._cut = False

    def __repr__(self) -> str:
        state = "closed" if self._number is None else "cut" if self._cut else "open"
        return f"<Namespace {state}>" if self._number is None else f"<Namespace {self.name} {state}>"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def number(self) -> int:
        """Raises NamespaceFailed while there is none."""
        if self._number is None:
            raise NamespaceFailed("this namespace is not open")
        return self._number

    @property
    def name(self) -> str:
        """As `ip netns` knows it. It tells whose it is, so that one left by a killed process can be found."""
        return name_of(self.number)

    @property
    def host_address(self) -> str:
        """Of this machine, as seen from the namespace."""
        return addresses(self.number)[0]

    @property
    def address(self) -> str:
        """Of what runs in the namespace, as seen from this machine."""
        return addresses(self.number)[1]

    @property
    def command(self) -> tuple[str, ...]:
        """Put in front of a command line, runs it in the namespace, as the same process."""
        return ("ip", "netns", "exec", self.name)

    def open(self) -> None:
        """Raises NamespaceFailed: not root, no `ip`, no room, or what the kernel says."""
        demand()
        remove_abandoned()
        self._number = take()
        atexit.register(self.close)
        try:
            self._furnish()
        except BaseException:
            self.close()
            raise

    def cut(self) -> None:
        """From now on everything that is sent to or from it is lost, and every flow hangs."""
        self._inside("link", "set", LINK, "down")
        self._cut = True

    def mend(self) -> None:
        """What is sent arrives again. Flows that nobody has given up meanwhile go on."""
        self._inside("link", "set", LINK, "up")
        self._cut = False

    def close(self) -> None:
        """Remove it. Processes that still run in it have no network any more. Harmless when repeated."""
        if self._number is not None:
            remove(self.name)
            self._number = None
            self._cut = False
        atexit.unregister(self.close)

    def _furnish(self) -> None:
        outer, (host, own) = link(self.number), addresses(self.number)
        ip("link", "set", outer, "address", HARDWARE_ADDRESS, "arp", "off")
        ip("address", "add", f"{host}/30", "dev", outer)
        ip("link", "set", outer, "up")
        self._inside("link", "set", LINK, "address", HARDWARE_ADDRESS, "arp", "off")
        self._inside("address", "add", f"{own}/30", "dev", LINK)
        self._inside("link", "set", LINK, "up")
        self._inside("link", "set", "lo", "up")
        # A pair whose other end stays down has no carrier and drops what it is given: by a wider route, what
        # finds no better one.
        self._inside("link", "add", NOWHERE, "type", "veth", "peer", "name", "dead-end")
        self._inside("link", "set", NOWHERE, "arp", "off", "up")
        self._inside("route", "add", str(BLOCK), "dev", NOWHERE, "src", own)

    def _inside(self, *arguments: str) -> None:
        ip("-netns", self.name, *arguments)


def addresses(number: int) -> tuple[str, str]:
    """(the host's, the namespace's), the two of the number's own /30."""
    network = int(BLOCK.network_address) + 4 * number
    return str(ipaddress.ip_address(network + 1)), str(ipaddress.ip_address(network + 2))


def link(number: int) -> str:
    """The name of the host's end; at most 15 characters, as the kernel has it."""
    return f"storm{number}"


def name_of(number: int) -> str:
    return f"storm-{os.getpid()}-{number}"


def take() -> int:
    """Make a namespace and the pair that joins it, with the first number that nobody has.

    The name of the host's end is what reserves the number, and so the addresses. Raises NamespaceFailed.
    """
    for number in range(MOST):
        try:
            ip("netns", "add", name_of(number))
        except NamespaceFailed as error:
            if "File exists" in str(error):  # another one of this process
                continue
            raise
        try:
            ip("link", "add", link(number), "type", "veth", "peer", "name", LINK, "netns", name_of(number))
        except BaseException as error:
            ip("netns", "delete", name_of(number))
            if "File exists" not in str(error):
                raise
        else:
            return number
    raise NamespaceFailed(f"there are {MOST} network namespaces of storms already, {link(0)} and so on")


def demand() -> None:
    """Raises NamespaceFailed where no namespace can be made."""
    if os.geteuid() != 0:
        raise NamespaceFailed("a network namespace needs root: run it as root, or leave out what vanishes")
    if shutil.which("ip") is None:
        raise NamespaceFailed("a network namespace needs the program `ip` (package iproute2)")


def ip(*arguments: str) -> str:
    """Run it; returns what it prints. Raises NamespaceFailed."""
    try:
        done = subprocess.run(
            ("ip", *arguments), capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NamespaceFailed(f"ip {' '.join(arguments)}: {error}") from error
    if done.returncode != 0:
        raise NamespaceFailed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def remove(name: str) -> None:
    """The link first, and with it the host's end: a namespace lives as long as a process in it."""
    for arguments in (("-netns", name, "link", "delete", LINK), ("netns", "delete", name)):
        with contextlib.suppress(NamespaceFailed):  # it may be gone, or half made
            ip(*arguments)


def remove_abandoned() -> None:
    """Remove what a process has left behind that was killed."""
    for line in ip("netns", "list").splitlines():
        if (found := NAME.match(line.split()[0])) is not None and not is_alive(int(found[1])):
            remove(found[0])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
