"""The built-in functions: modules as people upload them, with Lambda's signature `handler(event, context)`.

Each but `leaky` and `careless` keeps its connection in a global, opens it in INIT, and opens it anew when it
was lost: in the invocation after that which has found it out, `careful` in the same one. Each does its work
in an explicit transaction and notes it in the ledger in the same transaction, part k of n.
Their code is run anew for each environment (`benchmarks.storm.loading`), so nothing that belongs to one
environment may be in a module that they import. They must not know which client their session is, nor what is
behind DATABASE_URL.
"""
