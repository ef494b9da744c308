"""AWS Lambda as a database sees it, decided and never done: what runs where and when, and what it costs.

Inputs with their time go into `service.Service` (invoke, send, initialised, answered, crashed, deploy,
tick), and actions come out (`actions`: Start, Run, Freeze, Reset, Shutdown, Settled). Nothing here knows a
clock, a socket or an event loop, and the dice are seeded: the same inputs give the same actions. From the
ground up:

    coldstart function invocation timers    settings and numbers, events, moments
    environment actions scaling fleet bill  INIT INVOKE FROZEN DEAD; buckets and pools; who is where; money
    lifecycle                               INIT and its 10 s, the timeout wall, freezing, reaping, deploying
    register callers retries ramp poller    synchronous, asynchronous, SQS: every invocation settles once
    service arrivals                        all of it together; and when clients mean to send

From AWS's pages, named where they are used: 1,000 concurrent executions an account, of which 100 stay
unreserved; 1,000 new environments per function at once, refilled by 100 a second; requests at ten times the
concurrency; a gateway's 29 s; retries after one and two minutes, throttles for six hours; five batches, 300
more a minute, at most 1,000; 2 s of SHUTDOWN with an external extension, else none; prices.

Assumed, because AWS does not publish it: the warm environment used last is taken first; idle ones are reaped
after 600 s and recycled after 3 to 5 hours; cold starts by others' measurements, log-normal; a second's worth
of requests may come at once; throttles double their wait; a batch that failed comes back as one; a deployment
replaces idle and provisioned environments in one moment, and provisioned ones serve as soon as they can.
Left out: early INIT without a request, SnapStart, $LATEST, internal extensions, FIFO queues, streams, partial
batch responses, fewer batches after errors, slower reading of long queues, and duplicates that queues make.
"""
