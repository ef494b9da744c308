"""Kinds of values that settings have: what pydantic is to check, and what a person may write instead."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from poolproxy.protocol.auth_methods import required_methods


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _listed(value: object) -> object:
    """A list in the environment or on the command line: names between commas."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _require_auth(value: str) -> str:
    required_methods(value)
    return value


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError(
            "not a network such as 10.0.0.0/8, or its address has bits behind its mask"
        ) from None


AuthMethod = Annotated[
    Literal["scram-sha-256", "md5", "password", "iam", "cert", "trust"], BeforeValidator(_lower)
]
HandoverReset = Annotated[Literal["auto", "always"], BeforeValidator(_lower)]
PinningFilter = Literal["temp_object", "advisory_lock", "holdable_cursor", "sql_prepare", "listen"]
PinningFilters = Annotated[tuple[PinningFilter, ...], NoDecode, BeforeValidator(_listed)]
FunctionName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]
FunctionNames = Annotated[tuple[FunctionName, ...], NoDecode, BeforeValidator(_listed)]
Network = Annotated[str, AfterValidator(_network)]
RequireAuth = Annotated[str, AfterValidator(_require_auth)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_listed)]
SslMode = Annotated[
    Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"], BeforeValidator(_lower)
]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
HostNames = Annotated[tuple[HostName, ...], NoDecode, BeforeValidator(_listed)]
PoolMode = Annotated[Literal["transaction", "session"], BeforeValidator(_lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["auto", "text", "json"], BeforeValidator(_lower)]
Seconds = Annotated[float, Field(ge=0, le=2_000_000, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=2_000_000, allow_inf_nan=False)]
Percent = Annotated[int, Field(ge=1, le=100)]
Port = Annotated[int, Field(ge=0, le=65535)]
Address = Annotated[str, Field(min_length=1)]
FileMode = Annotated[str, Field(pattern=r"^0?[0-7]{3}$")]
