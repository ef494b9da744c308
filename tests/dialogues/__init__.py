"""Wire dialogues: real clients and servers of ours over socket pairs, and PostgreSQL played by the test."""
