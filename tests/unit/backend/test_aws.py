"""Secrets and tokens of AWS, by way of botocore, whose Stubber answers. Nothing leaves the machine."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.exceptions
import pytest
from botocore.stub import Stubber

from poolproxy.backend.aws import (
    TOKEN_FRESH,
    TOKEN_VALID,
    Aws,
    SecretSource,
    Service,
    TokenSource,
    region_of_host,
    region_of_secret,
)
from poolproxy.backend.passwords import NoPassword
from poolproxy.settings import InvalidSettings
from tests.unit.backend.amazon import CREDENTIALS, away

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    """With credentials of its own, and none of this machine's."""
    away(monkeypatch)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return Aws("password_secret")


class Secret:
    """The secret, whose versions the test has put there: expected calls, and what each is answered."""

    def __init__(self, aws: Aws, user: str = "app") -> None:
        service = aws.service("secretsmanager", "eu-west-1")
        self.stubber = Stubber(service.client())
        self.source = SecretSource(service, SECRET, user)

    def says(self, stage: str, text: str | None = None, **fields: object) -> Secret:
        answer = {"SecretString": text if text is not None else json.dumps(fields)}
        return self._expect(stage, answer)

    def says_bytes(self, stage: str) -> Secret:
        return self._expect(stage, {"SecretBinary": b"hunter2"})

    def _expect(self, stage: str, answer: dict[str, Any]) -> Secret:
        self.stubber.add_response(
            "get_secret_value", {"ARN": SECRET, "Name": "shop", **answer}, self._question(stage)
        )
        return self

    def refuses(self, stage: str, code: str, message: str = "") -> Secret:
        self.stubber.add_client_error(
            "get_secret_value", code, message, expected_params=self._question(stage)
        )
        return self

    @staticmethod
    def _question(stage: str) -> dict[str, str]:
        return {"SecretId": SECRET, "VersionStage": stage}

    def fetch(self, thorough: bool = False) -> tuple[str, ...]:
        with self.stubber:
            found = self.source.fetch(thorough).passwords
            self.stubber.assert_no_pending_responses()
        return found

    def problem(self, thorough: bool = False) -> NoPassword:
        """What it fails with, which holds nothing secret, wherever one looks."""
        with pytest.raises(NoPassword) as caught:
            self.fetch(thorough)
        error = caught.value
        self.stubber.assert_no_pending_responses()
        assert error.__cause__ is None
        assert error.__context__ is None
        assert "hunter2" not in "".join(traceback.format_exception(error)) + error.detail
        return error


@pytest.fixture
def secret(aws: Aws) -> Secret:
    return Secret(aws)


class TestSecrets:
    def test_as_rds_writes_them(self, secret: Secret) -> None:
        secret.says("AWSCURRENT", username="app", password="hunter2", host="db", port=5432)
        assert secret.fetch() == ("hunter2",)

    @pytest.mark.parametrize("text", ["hunter2", " hunter2 ", '"hunter2"', "[hunter2"])
    def test_as_plain_text(self, secret: Secret, text: str) -> None:
        assert secret.says("AWSCURRENT", text).fetch() == (text,)

    def test_json_that_names_no_user(self, secret: Secret) -> None:
        assert secret.says("AWSCURRENT", password="hunter2").fetch() == ("hunter2",)

    def test_thoroughly_with_the_one_that_comes(self, secret: Secret) -> None:
        secret.says("AWSCURRENT", username="app", password="old")
        secret.says("AWSPENDING", username="app", password="new")
        assert secret.fetch(thorough=True) == ("old", "new")

    def test_thoroughly_where_none_comes(self, secret: Secret) -> None:
        secret.says("AWSCURRENT", username="app", password="old")
        secret.refuses("AWSPENDING", "ResourceNotFoundException")
        assert secret.fetch(thorough=True) == ("old",)

    def test_a_pending_one_that_cannot_be_used(self, secret: Secret) -> None:
        secret.says("AWSCURRENT", username="app", password="old")
        secret.says("AWSPENDING", username="app", password="")
        assert secret.fetch(thorough=True) == ("old",)

    def test_a_pending_one_of_somebody_else(self, secret: Secret) -> None:
        secret.says("AWSCURRENT", username="app", password="old")
        secret.says("AWSPENDING", username="app_clone", password="new")
        assert secret.fetch(thorough=True) == ("old",)

    @pytest.mark.parametrize("thorough", [False, True])
    def test_users_that_alternate(self, secret: Secret, thorough: bool) -> None:
        """Ours has the password of a turn ago."""
        secret.says("AWSCURRENT", username="app_clone", password="of the clone")
        secret.refuses("AWSPENDING", "ResourceNotFoundException")
        secret.says("AWSPREVIOUS", username="app", password="ours")
        assert secret.fetch(thorough) == ("ours",)

    def test_users_that_alternate_while_ours_gets_another_one(self, secret: Secret) -> None:
        secret.says("AWSCURRENT", username="app_clone", password="of the clone")
        secret.says("AWSPENDING", username="app", password="new")
        secret.says("AWSPREVIOUS", username="app", password="old")
        assert secret.fetch() == ("new", "old")

    def test_of_somebody_else(self, secret: Secret) -> None:
        secret.says("AWSCURRENT", username="eve\n", password="hunter2")
        secret.refuses("AWSPENDING", "ResourceNotFoundException")
        secret.refuses("AWSPREVIOUS", "ResourceNotFoundException")
        message = secret.problem().message
        assert message == r'password_secret: it is for user "eve\n", not for "app"'

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"username": "app", "password": "hunter2"', 'it begins like JSON and has no "password"'),
            ('{"username": "app", "pass": "hunter2"}', 'it begins like JSON and has no "password"'),
            ('{"username": "app", "password": ["hunter2"]}', 'it begins like JSON and has no "password"'),
            ('{"username": "app", "password": ""}', "it is empty"),
            ('{"username": "app", "password": "hunter2\\u0000"}', "it is no password: it has a zero byte"),
            ('{"username": "app", "password": "hunter2\\ud800"}', "it is no text that UTF-8 can hold"),
            ('{"a":' * 13_000 + "hunter2", 'it begins like JSON and has no "password"'),
            ("hunter2" * 3000, "it is no password"),
            ("SCRAM-SHA-256$4096:hunter2", "it is a stored form of a password"),
        ],
        ids=range(9),
    )
    def test_what_is_no_password(self, secret: Secret, text: str, message: str) -> None:
        problem = secret.says("AWSCURRENT", text).problem()
        assert problem.message.startswith(f"password_secret: {message}")

    def test_binary_ones(self, secret: Secret) -> None:
        assert secret.says_bytes("AWSCURRENT").problem().message == (
            "password_secret: it is binary: write it as text"
        )

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("AccessDeniedException", "AWS denies access to it: allow secretsmanager:GetSecretValue"),
            ("ResourceNotFoundException", "there is no such secret in this region and account"),
            ("DecryptionFailure", "AWS cannot decrypt it"),
            ("UnrecognizedClientException", "AWS does not know these credentials"),
            ("ExpiredTokenException", "the AWS credentials have expired"),
            ("ThrottlingException", "AWS answers ThrottlingException"),
            ("Odd\nOne", r"AWS answers Odd\nOne"),
        ],
    )
    def test_what_aws_refuses(self, secret: Secret, code: str, said: str) -> None:
        problem = secret.refuses("AWSCURRENT", code, "User: role/shop is not authorized").problem()
        assert problem.message.startswith(f"password_secret: {said}")
        assert "role/shop" in problem.detail, "for the log"
        assert "role/shop" not in problem.message, "clients need not know"

    def test_its_name_is_shown(self, secret: Secret) -> None:
        assert repr(secret.source) == f"password_secret {SECRET}"


class TestFailures:
    """What botocore raises without an answer."""

    @staticmethod
    def problem(error: Exception) -> NoPassword:
        class Client:
            def get_secret_value(self, **arguments: str) -> None:
                raise error

            def close(self) -> None: ...

        source = SecretSource(Service(Client), "shop", "app")
        with pytest.raises(NoPassword) as caught:
            source.fetch(thorough=False)
        assert caught.value.__context__ is None
        return caught.value

    @pytest.mark.parametrize(
        "error",
        [
            botocore.exceptions.EndpointConnectionError(endpoint_url="https://secretsmanager"),
            botocore.exceptions.ConnectTimeoutError(endpoint_url="https://secretsmanager"),
            botocore.exceptions.ReadTimeoutError(endpoint_url="https://secretsmanager"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_no_network(self, error: Exception) -> None:
        problem = self.problem(error)
        assert problem.message == "password_secret: AWS cannot be reached"
        assert "https://secretsmanager" in problem.detail

    def test_what_a_program_for_credentials_has_said_is_not_repeated(self) -> None:
        error = botocore.exceptions.CredentialRetrievalError(provider="custom", error_msg="hunter2")
        problem = self.problem(error)
        said = "there are no AWS credentials that can be used (CredentialRetrievalError)"
        assert (problem.message, problem.detail) == (f"password_secret: {said}", "")

    def test_whatever_else(self) -> None:
        problem = self.problem(ValueError("hunter2"))
        assert (problem.message, problem.detail) == ("password_secret: asking AWS failed (ValueError)", "")

    def test_credentials_that_come_late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A client of botocore's has for ever what there was when it was made."""
        away(monkeypatch)
        service = Aws("iam_auth").service("rds", "eu-west-1")
        source = TokenSource(service, "db", 5432, "app")
        with pytest.raises(NoPassword, match="there are no AWS credentials"):
            source.fetch(thorough=False)
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        assert source.fetch(thorough=False).passwords


class TestTokens:
    HOST = "shop.c1x2.eu-west-1.rds.amazonaws.com"

    def test_it_is_for_this_user_of_this_endpoint(self, aws: Aws) -> None:
        source = TokenSource(aws.service("rds", "eu-west-1"), self.HOST, 6543, "app+user@x")
        found = source.fetch(thorough=False)
        (token,) = found.passwords
        parts = urlsplit(f"https://{token}")
        assert parts.netloc == f"{self.HOST}:6543"
        fields = parse_qs(parts.query)
        assert (fields["Action"], fields["DBUser"]) == (["connect"], ["app+user@x"])
        assert fields["X-Amz-Expires"] == ["900"]
        key, _, scope = fields["X-Amz-Credential"][0].partition("/")
        assert key == CREDENTIALS["AWS_ACCESS_KEY_ID"]
        assert scope.endswith("/eu-west-1/rds-db/aws4_request")
        assert fields["X-Amz-Security-Token"] == [CREDENTIALS["AWS_SESSION_TOKEN"]]
        assert (found.fresh_for, found.valid_for) == (TOKEN_FRESH, TOKEN_VALID)
        assert TOKEN_FRESH < TOKEN_VALID < 900
        assert token not in repr(found)
        assert repr(source) == f"iam_auth app+user@x@{self.HOST}:6543"

    def test_refusals_of_pam_are_about_the_token(self, aws: Aws) -> None:
        assert {"28P01", "28000"} <= TokenSource.refusals


class TestRegions:
    @pytest.mark.parametrize(
        ("host", "region"),
        [
            ("shop.c1x2.eu-west-1.rds.amazonaws.com", "eu-west-1"),
            ("Shop.C1X2.EU-West-1.RDS.amazonaws.com", "eu-west-1"),
            ("shop.proxy-c1x2.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
            ("shop.c1x2.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("shop.c1x2.eu-west-1.rds.amazonaws.com.example.org", ""),
            ("db.internal", ""),
        ],
    )
    def test_of_an_endpoint(self, host: str, region: str) -> None:
        assert region_of_host(host) == region

    def test_of_a_secret(self) -> None:
        assert region_of_secret(SECRET) == "eu-west-1"
        assert region_of_secret("arn:aws-cn:secretsmanager:cn-north-1:1:secret:x") == "cn-north-1"
        assert region_of_secret("shop/app") == ""

    def test_botocores_own(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
        fresh = Aws("password_secret")
        assert fresh.service("secretsmanager", "").client().meta.region_name == "ap-south-1"
        assert fresh.service("secretsmanager", "eu-west-1").client().meta.region_name == "eu-west-1"

    def test_none(self, aws: Aws) -> None:
        with pytest.raises(InvalidSettings, match="aws_region is not set"):
            aws.service("rds", "")

    def test_one_that_cannot_be(self, aws: Aws) -> None:
        with pytest.raises(InvalidSettings, match=r"aws_region, or .* cannot be used"):
            aws.service("rds", "eu west")

    def test_a_profile_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        away(monkeypatch)
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(InvalidSettings, match="ProfileNotFound"):
            Aws("iam_auth").service("rds", "")


class TestBotocore:
    @pytest.fixture
    def without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "botocore.session", None)

    @pytest.mark.usefixtures("without")
    def test_where_it_is_missing(self) -> None:
        with pytest.raises(InvalidSettings) as caught:
            Aws("iam_auth")
        assert str(caught.value) == "iam_auth needs botocore: pip install 'poolproxy[aws]'"

    def test_it_logs_no_answers(self, aws: Aws, caplog: pytest.LogCaptureFixture) -> None:
        """Its parser logs each of them whole, on level debug."""
        with caplog.at_level(logging.DEBUG):
            for name in ("botocore.parsers", "botocore.endpoint", "urllib3.connectionpool"):
                assert not logging.getLogger(name).isEnabledFor(logging.INFO), name

    def test_a_service_is_made_once(self, aws: Aws) -> None:
        service = aws.service("rds", "eu-west-1")
        assert aws.service("rds", "eu-west-1") is service
        assert service.client() is service.client()

    def test_credentials_are_not_looked_for_at_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """That may take seconds: where there is no answer, and in a container there may be none yet."""
        away(monkeypatch)
        aws = Aws("iam_auth")
        asked: list[str] = []
        monkeypatch.setattr(aws._session, "get_credentials", lambda: asked.append("here"))
        service = aws.service("rds", "eu-west-1")
        assert asked == []
        service.client()
        assert asked == ["here"]
