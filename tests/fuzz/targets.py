"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import credentials, dialogues, handshakes, readers, sessions
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for group in (readers, credentials, handshakes, dialogues, sessions)
    for target in group.TARGETS
}
