"""Network namespaces, as far as they need no kernel: addresses, names, and who may have one."""

from __future__ import annotations

import ipaddress
import os
import shutil

import pytest

from benchmarks.storm.runtime.namespaces import (
    BLOCK,
    MOST,
    NAME,
    Namespace,
    NamespaceFailed,
    addresses,
    demand,
    link,
    name_of,
)


def test_each_number_has_a_network_of_its_own() -> None:
    assert addresses(0) == ("198.18.0.1", "198.18.0.2")
    assert addresses(1) == ("198.18.0.5", "198.18.0.6")
    assert addresses(MOST - 1) == ("198.18.0.253", "198.18.0.254")
    pairs = [addresses(number) for number in range(MOST)]
    for pair in pairs:
        host, own = map(ipaddress.IPv4Interface, (f"{address}/30" for address in pair))
        assert host.network == own.network
        assert host.network.subnet_of(BLOCK)
    assert len({address for pair in pairs for address in pair}) == 2 * MOST


def test_names_tell_the_owner_and_fit() -> None:
    assert name_of(3) == f"storm-{os.getpid()}-3"
    found = NAME.match(name_of(3))
    assert found is not None
    assert int(found[1]) == os.getpid()
    assert NAME.match("storm-1-2-3") is None
    assert NAME.match("brainstorm-1-2") is None
    assert len(link(MOST - 1)) <= 15


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NamespaceFailed, match="needs root"):
        Namespace().open()


def test_without_iproute2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(NamespaceFailed, match=r"needs the program `ip` \(package iproute2\)"):
        demand()


def test_one_that_is_not_open() -> None:
    namespace = Namespace()
    assert repr(namespace) == "<Namespace closed>"
    for name in ("name", "host_address", "address", "command"):
        with pytest.raises(NamespaceFailed, match="not open"):
            getattr(namespace, name)
    with pytest.raises(NamespaceFailed, match="not open"):
        namespace.cut()
    namespace.close()
