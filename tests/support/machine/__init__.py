"""A machine that runs random programs of several clients twice: through a proxy, where they share servers,
and each on a direct connection of its own, to a twin of the database. What they hear must be equal.

`vocabulary` is what is said, `exchanges` how it is said, `heard` what comes back in a form that can be
compared, `worlds` the two sides and their databases, `base` who is logged in and who holds a server, and
`asking`, `leaving`, `cancelling`, `sharing` the rules; `machine` puts them together.

What may differ is written down where it is taken away: pids, tables' oids, where in its source PostgreSQL
raised an error, when a client hears a notification, and what docs/differences.md says that no proxy can hide,
or that poolproxy does differently and tells.
"""
