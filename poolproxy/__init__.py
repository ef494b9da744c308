"""poolproxy: many short-lived PostgreSQL clients on a small, bounded set of server connections."""

from poolproxy import _loader
from poolproxy._version import __version__

__all__ = ["__version__"]

_loader.install()
