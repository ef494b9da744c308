"""The events that handlers get, in the shapes that AWS documents.

Amazon S3 user guide, "Event message structure"; API Gateway developer guide, "Create AWS Lambda proxy
integrations for HTTP APIs" (payload format 2.0); Lambda developer guide, "Using Lambda with Amazon SQS". All
deterministic: numbers and times (seconds since 1970) are arguments. Must not know handlers' code.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import quote_plus

from benchmarks.storm.context import ACCOUNT, REGION
from benchmarks.storm.ledger import ITEMS

Event: TypeAlias = "dict[str, Any]"

_API_ID = "r3pmxmplak"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def request_id(kind: str, number: int) -> str:
    """A UUID that is always the same for the same kind and number."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"storm {kind} {number}"))


def s3_put(bucket: str, key: str, size: int, number: int, when: float) -> Event:
    """S3's notification of one object put; `number` makes its identifiers. The key is URL-encoded."""
    identity = hashlib.md5(f"{bucket}/{key} {number}".encode()).hexdigest()
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": _iso(when),
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAINPONIXQXHT3IKHL2"},
        "requestParameters": {"sourceIPAddress": "205.255.255.255"},
        "responseElements": {
            "x-amz-request-id": identity[:16].upper(),
            "x-amz-id-2": base64.b64encode(identity.encode()).decode(),
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "uploads",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {
                "key": quote_plus(key, safe="/"),
                "size": size,
                "eTag": identity,
                "sequencer": f"{number:018X}",
            },
        },
    }
    return {"Records": [record]}


def api_request(
    method: str,
    route: str,
    number: int,
    when: float,
    *,
    path_parameters: Mapping[str, str] | None = None,
    body: object = None,
) -> Event:
    """API Gateway's event of one HTTP request; `route` such as `/items/{id}`; `body` is sent as JSON."""
    path = route
    for name, value in (path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", value)
    domain = f"{_API_ID}.execute-api.{REGION}.amazonaws.com"
    event: Event = {
        "version": "2.0",
        "routeKey": f"{method} {route}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "application/json",
            "content-type": "application/json",
            "host": domain,
            "user-agent": "storm",
            "x-forwarded-for": "205.255.255.176",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": _API_ID,
            "domainName": domain,
            "domainPrefix": _API_ID,
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "205.255.255.176",
                "userAgent": "storm",
            },
            "requestId": base64.b64encode(f"{number:08d}".encode()).decode(),
            "routeKey": f"{method} {route}",
            "stage": "$default",
            "time": _clf(when),
            "timeEpoch": int(when * 1000),
        },
        "isBase64Encoded": False,
    }
    if path_parameters:
        event["pathParameters"] = dict(path_parameters)
    if body is not None:
        event["body"] = json.dumps(body)
    return event


def sqs_message(queue: str, body: str, number: int, sent: float, receives: int = 1) -> Event:
    """One message of a queue as a poller hands it over, received for the `receives`th time."""
    identity = request_id(queue, number)
    return {
        "messageId": identity,
        "receiptHandle": base64.b64encode(f"{identity} {receives}".encode()).decode(),
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(receives),
            "SentTimestamp": str(int(sent * 1000)),
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": str(int(sent * 1000)),
        },
        "messageAttributes": {},
        "md5OfBody": hashlib.md5(body.encode()).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
        "awsRegion": REGION,
    }


def sqs_batch(messages: Sequence[Event]) -> Event:
    """What the handler of a queue gets: a batch of messages."""
    return {"Records": list(messages)}


# What the built-in handlers are asked.


def upload(number: int, when: float) -> Event:
    """A photo put into a bucket, with a name as people give them."""
    return s3_put("uploads", f"2026/photo {number}.jpg", 1024 + number * 7919 % 5_000_000, number, when)


def read(number: int, when: float) -> Event:
    """`GET /items/{id}`."""
    return api_request("GET", "/items/{id}", number, when, path_parameters={"id": str(item(number))})


def order(number: int, when: float) -> Event:
    """`POST /orders`."""
    body = {"customer": 1 + number % 997, "item": item(number), "quantity": 1 + number % 3}
    return api_request("POST", "/orders", number, when, body=body)


def slow_order(pause: float) -> Callable[[int, float], Event]:
    """Orders that wait for somebody else in the middle of their transaction, so many seconds."""

    def make(number: int, when: float) -> Event:
        event = order(number, when)
        return {**event, "body": json.dumps({**json.loads(event["body"]), "pause": pause})}

    return make


def report(number: int, when: float) -> Event:
    """`GET /reports/sales`."""
    return api_request("GET", "/reports/sales", number, when)


def item(number: int) -> int:
    """The item that request `number` is about: one after the other all of them, in no visible order."""
    return 1 + number * 7919 % ITEMS  # 7919 is prime to the number of items


EVENTS: Mapping[str, Callable[[int, float], Event]] = MappingProxyType(
    {
        "upload": upload,
        "read": read,
        "order": order,
        "report": report,
        "leaky": read,
        "careful": order,
        "careless": read,
    }
)
"""For each built-in handler, the event of its request `number` at the time `when`."""


def _iso(when: float) -> str:
    """`1970-01-01T00:00:00.000Z`"""
    milliseconds = int(when * 1000)
    seconds = time.gmtime(milliseconds // 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', seconds)}.{milliseconds % 1000:03d}Z"


def _clf(when: float) -> str:
    """`12/Mar/2020:19:03:58 +0000`, whatever the locale."""
    at = time.gmtime(when)
    return f"{at.tm_mday:02d}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{time.strftime('%H:%M:%S', at)} +0000"
