"""What clients have proved: whose it is, and for how long it is kept."""

from __future__ import annotations

import gc

from poolproxy.backend.passing import PassThrough
from poolproxy.protocol.scram import ScramKeys, ScramProof

PROOF = ScramProof(ScramKeys(b"c" * 32, b"s" * 32), b"salt", 4096)


async def test_the_last_one_counts_and_nothing_is_no_proof() -> None:
    provider = PassThrough().provider("app", "db", 5432)
    assert (await provider.trial()).password is None
    for proof in ("old", PROOF, None):
        provider.learn(proof)
    trial = await provider.trial()
    assert trial.password is PROOF
    assert not await trial.another("28P01", "no")


async def test_it_is_that_users_at_that_server_alone() -> None:
    passing = PassThrough()
    provider = passing.provider("app", "db", 5432)
    provider.learn("secret")
    assert passing.provider("app", "db", 5432) is provider
    for other in (("other", "db", 5432), ("app", "elsewhere", 5432), ("app", "db", 5433)):
        assert (await passing.provider(*other).trial()).password is None


async def test_it_is_forgotten_with_the_last_pool() -> None:
    passing = PassThrough()
    provider = passing.provider("app", "db", 5432)
    provider.learn("secret")
    assert "secret" not in repr(provider) + repr(PROOF)
    del provider
    gc.collect()
    assert (await passing.provider("app", "db", 5432).trial()).password is None
