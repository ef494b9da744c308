"""A stand-in for AWS Secrets Manager: one secret, whose versions the test sets, over HTTP on loopback.

botocore finds it by AWS_ENDPOINT_URL_SECRETS_MANAGER; `environment` has that and made-up credentials.
"""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf"
ACCESS_KEY = "AKIATEST"
SECRET_KEY = "made up key of AWS"
TARGET = "secretsmanager.GetSecretValue"


class SecretsManager:
    """Listens until it is closed. `versions`: the text of each stage (AWSCURRENT, AWSPENDING, ...)."""

    def __init__(self, **versions: str) -> None:
        self.versions = versions
        self.error = ""  #: what each question is answered by, if anything
        self.asked: list[str] = []  #: the stages
        self.problems: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def environment(self) -> dict[str, str]:
        host, port = self._server.server_address[:2]
        return {
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://{host!s}:{port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def answer(self, target: str, question: dict[str, Any]) -> tuple[int, dict[str, str]]:
        if target != TARGET or question.get("SecretId") != ARN:
            self.problems.append(f"{target} {question}")
        stage = question.get("VersionStage", "AWSCURRENT")
        self.asked.append(stage)
        if self.error:
            return 400, {"__type": self.error, "Message": "role/shop may not do that"}
        text = self.versions.get(stage)
        if text is None:
            return 400, {"__type": "ResourceNotFoundException", "Message": f"no staging label {stage}"}
        return 200, {"ARN": ARN, "Name": "shop", "SecretString": text}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        assert not self.problems, self.problems

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        manager = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if f"Credential={ACCESS_KEY}/" not in self.headers.get("Authorization", ""):
                    manager.problems.append("a question that is not signed")
                status, answer = manager.answer(self.headers.get("X-Amz-Target", ""), question)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                """Nobody reads it."""

        return Handler
