"""The wire protocol: exact bytes, round trips, and what hostile bytes get."""
