"""Lambda's context object, the second argument of every handler.

Names and types as in AWS's Python runtime (awslambdaric, `LambdaContext`) and the Lambda developer guide,
"Using the Lambda context object to retrieve Python function information". The clock is an argument: it tells
Lambda time. Must not know who calls the handler.
"""

from __future__ import annotations

from collections.abc import Callable

REGION = "eu-central-1"
ACCOUNT = "123456789012"
LATEST = "$LATEST"


class Context:
    """What Lambda tells a handler about its invocation.

    `attempt` is the one thing that Lambda does not tell: the ledger wants to know a retry from a duplicate.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "attempt",
        "aws_request_id",
        "client_context",
        "function_name",
        "function_version",
        "identity",
        "invoked_function_arn",
        "log_group_name",
        "log_stream_name",
        "memory_limit_in_mb",
    )

    def __init__(
        self,
        function_name: str,
        memory: int,
        request_id: str,
        deadline: float,
        clock: Callable[[], float],
        *,
        attempt: int = 1,
        environment: int = 0,
    ) -> None:
        """`memory` in MB; `deadline` in Lambda time, as `clock` tells it; `environment` is a number."""
        self.function_name = function_name
        self.function_version = LATEST
        self.invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function_name}"
        self.memory_limit_in_mb = str(memory)  # the runtime takes it from an environment variable: text
        self.aws_request_id = request_id
        self.log_group_name = f"/aws/lambda/{function_name}"
        self.log_stream_name = f"[{LATEST}]{environment:032x}"
        self.identity = None
        self.client_context = None
        self.attempt = attempt
        self._deadline = deadline
        self._clock = clock

    def __repr__(self) -> str:
        left = self.get_remaining_time_in_millis()
        return f"<Context {self.function_name} {self.aws_request_id} attempt {self.attempt}, {left} ms left>"

    def get_remaining_time_in_millis(self) -> int:
        """Whole milliseconds of Lambda time until the timeout wall; 0 when it is reached."""
        return max(0, int((self._deadline - self._clock()) * 1000))
