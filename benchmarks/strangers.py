"""Whether time tells who exists: logins with a wrong password, by a name that there is and by names that
there are not.

    python -m benchmarks.strangers [--rounds 5000]

Each round has one of either, the order drawn by lot, on a proxy that holds back no answer. What is timed
is what the proxy does in between: from our first SCRAM message to its challenge, and from our proof to
its refusal. Told by the statistic of Mann and Whitney: |z| below 2 is what two samples of one thing show
nineteen times in twenty.
"""

from __future__ import annotations

import argparse
import math
import random
import secrets
import socket
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from poolproxy.demo.proxy import Proxy
from poolproxy.protocol import messages
from poolproxy.protocol.scram import MECHANISM, ScramClient, ScramKeys, new_nonce

KNOWN = "somebody"
STEPS = ("to the challenge", "to the refusal")


def attempt(port: int, user: str) -> tuple[float, float]:
    """One login that fails: the seconds of both steps."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(messages.startup_message({"user": user, "database": "shop"}, 0))
        assert sock.recv(4096)[:1] == b"R"
        client = ScramClient(new_nonce())
        begun = time.perf_counter()
        sock.sendall(messages.sasl_initial_response(MECHANISM, client.first()))
        challenge = sock.recv(4096)
        challenged = time.perf_counter()
        client.challenge(challenge[9:])
        proof = messages.sasl_response(client.final(ScramKeys(secrets.token_bytes(32), bytes(32))))
        proved = time.perf_counter()
        sock.sendall(proof)
        refusal = sock.recv(4096)
        refused = time.perf_counter()
        assert b"28P01" in refusal, refusal
    return challenged - begun, refused - proved


def mann_whitney(one: list[float], other: list[float]) -> float:
    """z: how far from chance the ranks of two samples are, in standard deviations; positive where `one`
    is longer. Without the correction for ties, of which nanoseconds have few."""
    ranked = sorted([(value, True) for value in one] + [(value, False) for value in other])
    ranks = sum(rank for rank, (_, first) in enumerate(ranked, 1) if first)
    count, others = len(one), len(other)
    mean = count * (count + others + 1) / 2
    return (ranks - mean) / math.sqrt(count * others * (count + others + 1) / 12)


def compare(port: int, rounds: int) -> list[tuple[list[float], list[float]]]:
    """By step: the seconds of known and of unknown names."""
    found: list[tuple[list[float], list[float]]] = [([], []) for _ in STEPS]
    for number in range(rounds):
        both = [(0, KNOWN), (1, f"nobody{number % 100:02}")]
        random.shuffle(both)
        for which, user in both:
            for step, seconds in enumerate(attempt(port, user)):
                found[step][which].append(seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "DATABASE_URL": "postgres://127.0.0.1:1/shop",  # nobody gets so far
            f"POOLPROXY_USERS__{KNOWN}__PASSWORD": secrets.token_urlsafe(),
            "POOLPROXY_FAILED_LOGIN_DELAY": "0",
            "POOLPROXY_LOG_LEVEL": "info",
        }
        with Proxy(settings, Path(folder) / "log") as proxy:
            compare(proxy.port, min(200, options.rounds))
            found = compare(proxy.port, options.rounds)
    print("\n".join(machine.describe()))
    print(f"{options.rounds} logins by each kind of name; microseconds")
    print("| step | known, median | unknown, median | z |\n| --- | ---: | ---: | ---: |")
    for step, (known, unknown) in zip(STEPS, found, strict=True):
        medians = (1e6 * statistics.median(known), 1e6 * statistics.median(unknown))
        print(f"| {step} | {medians[0]:.1f} | {medians[1]:.1f} | {mann_whitney(known, unknown):+.2f} |")


if __name__ == "__main__":
    main()
