"""Server connections: opening them, logging in, relaying answers, cancelling, asking PostgreSQL about itself.

asyncio lives here for what is rare (DNS, connects, control queries); what runs per message does not touch it.
A server knows its client as a `Sink` and nothing of the frontend.
"""
