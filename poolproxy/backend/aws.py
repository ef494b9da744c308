"""Passwords from AWS: secrets of Secrets Manager, tokens of RDS IAM. Both by botocore, which is an extra.

Asked in threads that may wait. What botocore says of a failure may hold anything: only what is known to be
harmless is repeated. Must not know connections.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from poolproxy.backend.passwords import Found, NoPassword
from poolproxy.backend.plain import usable
from poolproxy.errors import shown
from poolproxy.settings import InvalidSettings

#: Seconds that a token is good for is 15 minutes, from the second in which it was signed (RDS). Another one
#: is signed after 10; what is left is for those who are logging in, and for clocks that differ.
TOKEN_FRESH: Final = 600.0
TOKEN_VALID: Final = 840.0

#: Seconds: a login waits for it, within server_connect_timeout.
_CONNECT_TIMEOUT: Final = 3
_READ_TIMEOUT: Final = 5

_ARN: Final = re.compile(r"arn:[a-z0-9-]+:secretsmanager:([a-z0-9-]+):")
_ENDPOINT: Final = re.compile(
    r"\.(?:([a-z0-9-]+)\.rds|rds\.([a-z0-9-]+))\.amazonaws\.com(?:\.cn)?", re.IGNORECASE
)

#: What AWS says no by, in words.
_REFUSALS: Final = {
    "AccessDeniedException": "AWS denies access to it: allow secretsmanager:GetSecretValue, and kms:Decrypt "
    "where it has a key of its own",
    "DecryptionFailure": "AWS cannot decrypt it: allow kms:Decrypt for its key",
    "ResourceNotFoundException": "there is no such secret in this region and account",
    "UnrecognizedClientException": "AWS does not know these credentials",
    "InvalidSignatureException": "AWS does not know these credentials",
    "ExpiredTokenException": "the AWS credentials have expired",
}
#: Of botocore's errors: what each says is where it could not get to, and nothing else.
_UNREACHABLE: Final = (
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "EndpointConnectionError",
    "ReadTimeoutError",
)
_NO_CREDENTIALS: Final = (
    "CredentialRetrievalError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
)


class Service:
    """One of AWS's, in one region: a client of botocore's, made by `make` when it is needed. In threads."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._client: Any = None
        self._asking = 0
        self._lock = threading.Lock()

    def client(self) -> Any:
        """Makes it where there is none."""
        client = self._client
        if client is None:
            client = self._client = self._make()
        return client

    def ask(self, setting: str, method: str, **arguments: object) -> Any:
        """What this method of the client returns. Raises NoPassword, that says what failed and no more."""
        with self._lock:
            self._asking += 1
        try:
            return getattr(self.client(), method)(**arguments)
        except Exception as error:
            if type(error).__name__ in _NO_CREDENTIALS:
                self._client = None  # a client has those that there were when it was made
            problem = _explained(setting, error)
        finally:
            self._hang_up()
        raise problem  # not within the except block: a chained error would carry botocore's along

    def _hang_up(self) -> None:
        """Keep no connection: it would be of use once in weeks."""
        with self._lock:
            self._asking -= 1
            if not self._asking and self._client is not None:
                self._client.close()


class Aws:
    """botocore's session, and a service for each name and region. InvalidSettings where it is missing, or
    what its own settings say cannot be used."""

    def __init__(self, setting: str) -> None:
        try:
            session = importlib.import_module("botocore.session")
            config = importlib.import_module("botocore.config")
        except ImportError:
            raise InvalidSettings(f"{setting} needs botocore: pip install 'poolproxy[aws]'") from None
        # On level debug botocore logs answers whole: secrets.
        for name in ("botocore", "urllib3"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._session = session.get_session()
        self._lock = threading.Lock()  # to make clients: the session is not made for threads, clients are
        self._config = config.Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        self._services: dict[tuple[str, str], Service] = {}

    def service(self, name: str, region: str) -> Service:
        """`name`: "secretsmanager" or "rds"; an empty region is botocore's default."""
        found = self._services.get((name, region))
        if found is None:
            try:
                where = region or self._session.get_config_variable("region")
                if where:
                    # What it reads for the first client takes a while: now. Looking for credentials may take
                    # seconds: not now.
                    self._make(name, where, aws_access_key_id="none", aws_secret_access_key="none")
            except Exception as error:
                kind = type(error).__name__
                raise InvalidSettings(
                    f"aws_region, or what AWS's own settings say, cannot be used ({kind})"
                ) from None
            if not where:
                raise InvalidSettings("aws_region is not set, and nothing else says which it is: set it")
            found = self._services[name, region] = Service(partial(self._make, name, where))
        return found

    def _make(self, name: str, region: str, **credentials: str) -> Any:
        with self._lock:
            return self._session.create_client(name, region_name=region, config=self._config, **credentials)


def region_of_secret(name: str) -> str:
    """Which an ARN names; empty where it is no ARN."""
    found = _ARN.match(name)
    return found[1] if found else ""


def region_of_host(host: str) -> str:
    """Which an endpoint of RDS names; empty where it is none."""
    found = _ENDPOINT.search(host)
    return (found[1] or found[2]).lower() if found and found.end() == len(host) else ""


def _explained(setting: str, error: Exception) -> NoPassword:
    name = type(error).__name__
    code = _error_code(error)
    if code:
        what = _REFUSALS.get(code, f"AWS answers {shown(code, 60)}")
        return NoPassword(f"{setting}: {what}", str(error))
    if name in _UNREACHABLE:
        return NoPassword(f"{setting}: AWS cannot be reached", str(error))
    if name in _NO_CREDENTIALS:
        return NoPassword(f"{setting}: there are no AWS credentials that can be used ({name})")
    return NoPassword(f"{setting}: asking AWS failed ({name})")


def _error_code(error: Exception) -> str:
    """Of an answer that says no; empty: there was none."""
    response = getattr(error, "response", None)
    fault = response.get("Error") if isinstance(response, dict) else None
    return str(fault.get("Code", "Unknown")) if isinstance(fault, dict) else ""


class SecretSource:
    """A secret of Secrets Manager, for one user: JSON with `username` and `password`, as RDS and AWS's
    rotation write it, or the password alone.

    While it is rotated AWSPENDING is what the server may take already. Rotation that alternates two users
    keeps ours alive a turn longer: then AWSPREVIOUS has its password.
    """

    free = False
    refusals = frozenset({"28P01"})

    def __init__(self, service: Service, secret: str, user: str) -> None:
        self._service = service
        self._secret = secret
        self._user = user

    def __repr__(self) -> str:
        return f"password_secret {shown(self._secret, 150)}"

    def fetch(self, thorough: bool) -> Found:
        user, password = self._version("AWSCURRENT")
        ours = user in (None, self._user)
        stages = ("AWSPENDING",) if ours else ("AWSPENDING", "AWSPREVIOUS")
        passwords = [password] if ours else []
        for stage in stages if thorough or not ours else ():
            passwords += self._other(stage)
        if not passwords:
            raise NoPassword(
                f'password_secret: it is for user "{shown(str(user))}", not for "{shown(self._user)}"'
            )
        return Found(tuple(passwords))

    def _other(self, stage: str) -> list[str]:
        """There need not be one, nor one that can be used."""
        try:
            user, password = self._version(stage)
        except NoPassword:
            return []
        return [password] if user in (None, self._user) else []

    def _version(self, stage: str) -> tuple[str | None, str]:
        """(user, password) of one of its versions; no user where it names none."""
        answer = self._service.ask(
            "password_secret", "get_secret_value", SecretId=self._secret, VersionStage=stage
        )
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise NoPassword("password_secret: it is binary: write it as text")
        if not text.lstrip().startswith("{"):
            return None, usable("password_secret", text)
        fields = _fields(text)
        password, user = fields.get("password"), fields.get("username")
        if not isinstance(password, str):
            raise NoPassword('password_secret: it begins like JSON and has no "password"')
        return (user if isinstance(user, str) else None), usable("password_secret", password)


def _fields(text: str) -> dict[str, Any]:
    """An object of JSON, {} for anything else. The error of the parser would carry the text along."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class TokenSource:
    """Tokens of RDS IAM for one user of one endpoint: signed here, nobody is asked but for credentials."""

    free = False
    #: RDS has them checked by PAM, for which PostgreSQL says 28000.
    refusals = frozenset({"28P01", "28000"})

    def __init__(self, service: Service, host: str, port: int, user: str) -> None:
        self._service = service
        self._host = host
        self._port = port
        self._user = user

    def __repr__(self) -> str:
        return f"iam_auth {shown(self._user)}@{shown(self._host, 100)}:{self._port}"

    def fetch(self, thorough: bool) -> Found:
        token = self._service.ask(
            "iam_auth",
            "generate_db_auth_token",
            DBHostname=self._host,
            Port=self._port,
            DBUsername=self._user,
        )
        return Found((token,), fresh_for=TOKEN_FRESH, valid_for=TOKEN_VALID)
