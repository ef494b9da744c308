"""The directory of clients: pids of ours, keys that nobody guesses, and whom a cancel request means."""

from __future__ import annotations

import hmac
import os

import pytest

from poolproxy.auth.randomness import RandomBytes
from poolproxy.frontend.client import Client
from poolproxy.frontend.directory import Directory

#: Above every pid that Linux gives (PID_MAX_LIMIT), within the protocol's Int32.
FIRST_PID = 2**22 + 1
LAST_PID = 2**31 - 1


def a_directory() -> Directory:
    return Directory(RandomBytes())


def enlist(directory: Directory, key: bytes = b"secret") -> Client:
    """A client of which there is no more than a directory knows."""
    client = Client.__new__(Client)
    client.pid, client.key = 0, key
    directory.enlist(client)
    return client


def test_pids_are_ours_and_distinct() -> None:
    directory = a_directory()
    clients = [enlist(directory) for _ in range(1000)]
    assert all(FIRST_PID <= client.pid <= LAST_PID for client in clients)
    assert len({client.pid for client in clients}) == len(directory) == 1000
    assert {id(client) for client in directory} == {id(client) for client in clients}


@pytest.mark.parametrize(("drawn", "first"), [(0, FIRST_PID), (LAST_PID - FIRST_PID, LAST_PID)])
def test_a_pid_in_use_is_not_given_again(monkeypatch: pytest.MonkeyPatch, drawn: int, first: int) -> None:
    """Behind the last one comes the first."""
    monkeypatch.setattr(os, "urandom", lambda size: drawn.to_bytes(4, "big") * (size // 4))
    directory = a_directory()
    second = FIRST_PID if first == LAST_PID else first + 1
    assert [enlist(directory).pid for _ in range(3)] == [first, second, second + 1]


@pytest.mark.parametrize(("minor", "size"), [(0, 4), (1, 4), (2, 32), (9, 32)])
def test_keys_are_as_long_as_the_protocol_takes(minor: int, size: int) -> None:
    directory = a_directory()
    keys = {directory.new_key(minor) for _ in range(100)}
    assert {len(key) for key in keys} == {size}
    assert len(keys) == 100


def test_who_has_been_silent() -> None:
    directory = a_directory()
    clients = [enlist(directory) for _ in range(3)]
    for client, moment in zip(clients, (10.0, 20.0, 30.0), strict=True):
        client.last_active = moment
    assert directory.silent_since(9.9) == []
    assert directory.silent_since(20.0) == clients[:2]
    assert directory.silent_since(99.0) == clients


def test_a_client_is_found_by_its_pid_and_its_key() -> None:
    directory = a_directory()
    first, second = enlist(directory, b"one"), enlist(directory, b"two")
    assert directory.find(first.pid, b"one") is first
    assert directory.find(second.pid, b"two") is second
    assert directory.find(first.pid, b"two") is None


@pytest.mark.parametrize("key", [b"", b"secre", b"secret!", b"Secret", b"\0" * 6])
def test_a_wrong_key_finds_nobody(key: bytes) -> None:
    directory = a_directory()
    assert directory.find(enlist(directory).pid, key) is None


@pytest.mark.parametrize("pid", [0, -1, 1, LAST_PID + 1])
@pytest.mark.parametrize("key", [b"", b"\0\0\0\0", b"secret"])
def test_an_unknown_pid_finds_nobody_whatever_the_key(pid: int, key: bytes) -> None:
    """The key of zeros that an unknown pid is compared with is nobody's."""
    directory = a_directory()
    enlist(directory)
    assert directory.find(pid, key) is None


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(ours: bytes, theirs: bytes) -> bool:
        compared.append((ours, theirs))
        return ours == theirs

    monkeypatch.setattr(hmac, "compare_digest", compare)
    directory = a_directory()
    client = enlist(directory)
    directory.find(client.pid, b"secret")
    directory.find(1, b"secret")
    assert compared == [(b"secret", b"secret"), (b"\0" * 6, b"secret")]


def test_who_has_left_is_not_found() -> None:
    directory = a_directory()
    client = enlist(directory)
    directory.remove(client)
    assert directory.find(client.pid, b"secret") is None
    assert len(directory) == 0
    directory.remove(client)  # twice is once


def test_a_session_takes_its_servers_pid() -> None:
    directory = a_directory()
    client = enlist(directory)
    ours = client.pid
    directory.rename(client, 4711)
    assert client.pid == 4711
    assert directory.find(4711, b"secret") is client
    assert directory.find(ours, b"secret") is None
    directory.remove(client)
    assert len(directory) == 0


def test_a_servers_pid_that_is_taken_is_left_to_who_has_it() -> None:
    """Two databases on two machines may have backends of the same pid."""
    directory = a_directory()
    first, second = enlist(directory, b"one"), enlist(directory, b"two")
    directory.rename(first, 4711)
    ours = second.pid
    directory.rename(second, 4711)
    assert second.pid == ours
    assert directory.find(4711, b"one") is first
    assert directory.find(ours, b"two") is second
