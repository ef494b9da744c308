from __future__ import annotations

import json

from benchmarks.storm import events
from benchmarks.storm.handlers.upload import objects


def test_the_objects_of_s3s_own_event() -> None:
    event = events.s3_put("photos", "a b/ü.jpg", 5, 7, 0.0)
    etag = event["Records"][0]["s3"]["object"]["eTag"]
    assert list(objects(event)) == [("photos", "a b/ü.jpg", 5, etag)]


def test_the_objects_of_a_batch_of_messages() -> None:
    bodies = [json.dumps(events.s3_put("photos", f"{n}.jpg", n, n, 0.0)) for n in range(3)]
    batch = events.sqs_batch([events.sqs_message("uploads", body, n, 0.0) for n, body in enumerate(bodies)])
    assert [(key, size) for _, key, size, _ in objects(batch)] == [("0.jpg", 0), ("1.jpg", 1), ("2.jpg", 2)]
