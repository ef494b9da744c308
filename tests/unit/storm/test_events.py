"""The shapes of AWS's own examples, and what the built-in handlers take from them."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import unquote_plus

from benchmarks.storm import events
from benchmarks.storm.ledger import ITEMS
from benchmarks.storm.loading import BUILT_IN

WHEN = 1_774_000_000.25  # 2026-03-20 09:46:40.250 UTC


def shape(value: Any) -> Any:
    """Names and types, without the values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


#: Amazon S3 user guide, "Event message structure" (version 2.1), without what is optional.
S3_RECORD = {
    "eventVersion": "str",
    "eventSource": "str",
    "awsRegion": "str",
    "eventTime": "str",
    "eventName": "str",
    "userIdentity": {"principalId": "str"},
    "requestParameters": {"sourceIPAddress": "str"},
    "responseElements": {"x-amz-request-id": "str", "x-amz-id-2": "str"},
    "s3": {
        "s3SchemaVersion": "str",
        "configurationId": "str",
        "bucket": {"name": "str", "ownerIdentity": {"principalId": "str"}, "arn": "str"},
        "object": {"key": "str", "size": "int", "eTag": "str", "sequencer": "str"},
    },
}

#: Lambda developer guide, "Using Lambda with Amazon SQS", "Example standard queue message event".
SQS_RECORD = {
    "messageId": "str",
    "receiptHandle": "str",
    "body": "str",
    "attributes": {
        "ApproximateReceiveCount": "str",
        "SentTimestamp": "str",
        "SenderId": "str",
        "ApproximateFirstReceiveTimestamp": "str",
    },
    "messageAttributes": {},
    "md5OfBody": "str",
    "eventSource": "str",
    "eventSourceARN": "str",
    "awsRegion": "str",
}

#: API Gateway developer guide, payload format 2.0, without what depends on the route.
HTTP_CONTEXT = {
    "accountId": "str",
    "apiId": "str",
    "domainName": "str",
    "domainPrefix": "str",
    "http": {"method": "str", "path": "str", "protocol": "str", "sourceIp": "str", "userAgent": "str"},
    "requestId": "str",
    "routeKey": "str",
    "stage": "str",
    "time": "str",
    "timeEpoch": "int",
}


def test_an_s3_event() -> None:
    event = events.s3_put("photos", "a b/ü&c.jpg", 5, 7, WHEN)
    assert shape(event) == {"Records": [S3_RECORD]}
    (record,) = event["Records"]
    assert (record["eventSource"], record["eventName"]) == ("aws:s3", "ObjectCreated:Put")
    assert record["eventTime"] == "2026-03-20T09:46:40.250Z"
    assert record["s3"]["bucket"]["arn"] == "arn:aws:s3:::photos"
    assert record["s3"]["object"]["key"] == "a+b/%C3%BC%26c.jpg"
    assert unquote_plus(record["s3"]["object"]["key"]) == "a b/ü&c.jpg"


def test_an_http_api_event() -> None:
    event = events.api_request("GET", "/items/{id}", 7, WHEN, path_parameters={"id": "42"})
    assert shape(event["requestContext"]) == HTTP_CONTEXT
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "GET /items/{id}", "/items/42")
    assert event["pathParameters"] == {"id": "42"}
    assert event["isBase64Encoded"] is False
    assert "body" not in event
    assert event["requestContext"]["time"] == "20/Mar/2026:09:46:40 +0000"
    assert event["requestContext"]["timeEpoch"] == 1_774_000_000_250


def test_an_http_api_event_with_a_body() -> None:
    event = events.api_request("POST", "/orders", 7, WHEN, body={"item": 1})
    assert event["body"] == '{"item": 1}'
    assert "pathParameters" not in event


def test_a_batch_of_messages() -> None:
    message = events.sqs_message("uploads", "hello", 7, WHEN, receives=3)
    event = events.sqs_batch([message, message])
    assert shape(event) == {"Records": [SQS_RECORD, SQS_RECORD]}
    assert message["md5OfBody"] == hashlib.md5(b"hello").hexdigest()
    assert message["attributes"]["ApproximateReceiveCount"] == "3"
    assert message["attributes"]["SentTimestamp"] == "1774000000250"
    assert message["eventSourceARN"] == "arn:aws:sqs:eu-central-1:123456789012:uploads"


def test_a_message_keeps_its_id_and_gets_another_receipt() -> None:
    first = events.sqs_message("uploads", "hello", 7, WHEN)
    again = events.sqs_message("uploads", "hello", 7, WHEN, receives=2)
    assert first["messageId"] == again["messageId"]
    assert first["receiptHandle"] != again["receiptHandle"]
    assert first["messageId"] != events.sqs_message("uploads", "hello", 8, WHEN)["messageId"]


def test_every_built_in_handler_has_its_event_and_all_are_json() -> None:
    assert sorted(events.EVENTS) == list(BUILT_IN)
    for make in events.EVENTS.values():
        event = make(7, WHEN)
        assert json.loads(json.dumps(event)) == event
        assert event == make(7, WHEN)
        assert event != make(8, WHEN)


def test_requests_want_every_item_in_turn() -> None:
    assert {events.item(number) for number in range(ITEMS)} == set(range(1, ITEMS + 1))
    assert [events.item(number) for number in range(3)] == [1, 7920, 5839]


def test_an_order() -> None:
    assert json.loads(events.order(998, WHEN)["body"]) == {"customer": 2, "item": 3163, "quantity": 3}


def test_a_slow_order_is_an_order_that_waits_in_its_midst() -> None:
    slow = events.slow_order(60.0)(998, WHEN)
    assert json.loads(slow["body"]) == {"customer": 2, "item": 3163, "quantity": 3, "pause": 60.0}
    assert {**slow, "body": ""} == {**events.order(998, WHEN), "body": ""}
