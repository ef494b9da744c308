"""Databases that a text needs nobody to be in: dropped, renamed, moved or copied ones (sessions.md, rule 20).

Read from the text as it stands; where a comment stands between the words, none is found. Must not know
connections.
"""

from __future__ import annotations

import re
from typing import Final

from poolproxy.session.channels import NAME_BYTES

_NAME = rb'("(?:[^"\0]|"")+"|[a-z_\x80-\xff][a-z0-9_$\x80-\xff]*)'

_DROP = re.compile(rb"\bdrop\s+database\s+(?:if\s+exists\s+)?" + _NAME, re.IGNORECASE)
_ALTER = re.compile(
    rb"\balter\s+database\s*" + _NAME + rb"\s*(?:rename\s+to\b|set\s+tablespace\b)", re.IGNORECASE
)
_CREATE = re.compile(rb"\bcreate\s+database\b([^;]*)", re.IGNORECASE)
_TEMPLATE = re.compile(rb"\btemplate\s*=?\s*(?:" + _NAME + rb"|'((?:[^'\0]|'')+)')", re.IGNORECASE)

#: What CREATE DATABASE copies where it does not say (manual: CREATE DATABASE).
_USUAL_TEMPLATE: Final = "template1"


def vacated(text: bytes) -> tuple[str, ...]:
    """Their names, without repetition."""
    found = [_name(match[1]) for match in (*_DROP.finditer(text), *_ALTER.finditer(text))]
    for match in _CREATE.finditer(text):
        template = _TEMPLATE.search(match[1])
        if template is None:
            found.append(_USUAL_TEMPLATE)
        elif template[1]:
            found.append(_name(template[1]))
        else:
            found.append(_cut(template[2].replace(b"''", b"'")))
    return tuple(dict.fromkeys(found))


def _name(spelled: bytes) -> str:
    """The name that is spelled so (manual 4.1.1)."""
    if spelled.startswith(b'"'):
        return _cut(spelled[1:-1].replace(b'""', b'"'))
    return _cut(spelled.lower())


def _cut(name: bytes) -> str:
    return name[:NAME_BYTES].decode("utf-8", "surrogateescape")
