"""Settings: what can be set (`model`), where from (`load`), database URLs (`url`), what fits (`limits`).

Everyone imports from here. Pydantic stays inside: the hot part gets the plain objects of `poolproxy.router`.
"""

from poolproxy.settings.limits import LOGIN_ROOM, descriptors_needed, fit_descriptors
from poolproxy.settings.load import load
from poolproxy.settings.model import (
    ANY_DATABASE,
    DatabaseSettings,
    InvalidSettings,
    Settings,
    UserSettings,
)
from poolproxy.settings.sections import PoolSettings
from poolproxy.settings.sources import PasswordSource
from poolproxy.settings.url import DatabaseUrl, parse_url, place_of

__all__ = [
    "ANY_DATABASE",
    "LOGIN_ROOM",
    "DatabaseSettings",
    "DatabaseUrl",
    "InvalidSettings",
    "PasswordSource",
    "PoolSettings",
    "Settings",
    "UserSettings",
    "descriptors_needed",
    "fit_descriptors",
    "load",
    "parse_url",
    "place_of",
]
