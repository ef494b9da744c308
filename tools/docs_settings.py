"""docs/settings.md, from the declarations in poolproxy.settings: names, defaults, ranges, descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from poolproxy.settings import DatabaseSettings, PoolSettings, Settings, UserSettings
from poolproxy.settings.model import CHAPTERS

INTRODUCTION: Final = """\
# Settings

`DATABASE_URL=postgres://user:password@host:5432/dbname poolproxy run` needs nothing else: clients log in to
`dbname` as `user` with that password. Everything below has a default.

## Where settings come from

From the first of these that has a setting:

1. the command line: `poolproxy run --pool-size 5`, or `--set NAME=VALUE` for any setting, such as
   `--set databases.app.pool_size=5`;
2. the environment: `POOLPROXY_` and the name in capitals, `__` where the file has a dot:
   `POOLPROXY_POOL_SIZE=5`, `POOLPROXY_DATABASES__APP__URL=postgres://...`,
   `POOLPROXY_USERS__APP__PASSWORD=...`. Names of databases and users given this way are lower case; the file
   takes any. An empty variable counts as not set. With `_FILE` at its end a variable names a file that holds
   the value: `DATABASE_URL_FILE=/run/secrets/url`, `POOLPROXY_USERS__APP__PASSWORD_FILE=...`;
3. `DATABASE_URL`: one database, and one user with the url's password;
4. the settings file, TOML: `poolproxy run -c poolproxy.toml`, or its path in `POOLPROXY_CONFIG`;
5. the secrets directory, see `secrets_dir`;
6. the defaults.

A name that does not exist is an error, in the file and in the environment; the message says which one is
likely meant. No message and no log line repeats a value that is, or might be, a secret. `poolproxy check`
tries the settings, `poolproxy check --connect` the databases as well.

```toml
pool_size = 20
idle_transaction_timeout = 60

[databases.app]
url = "postgres://app:s3cret@db.internal:5432/app"
pool_size = 40

[databases."*"]                 # any other name, each client as the user it logged in as
url = "postgres://db.internal"

[users.reporting]
password = "SCRAM-SHA-256$4096:..."
pool_mode = "session"
```
"""

DATABASES: Final = """\
## `[databases.NAME]`

One table per database that clients may ask for, with its `url` and any of the settings of "Pools and servers"
above, which then hold for this database alone. The name `*` serves every name that has no table of its own:
the client's database name is used towards the server. (If the url of `*` names a database, only
`poolproxy check --connect` and poolproxy's own control connections use it.)

In a url, special characters of user, password and database name are percent-encoded (`@` is `%40`, `/` is
`%2F`, `%` is `%25`). The parameters `host`, `port`, `user`, `password`, `dbname`, `sslmode`,
`sslrootcert`, `sslcert`, `sslkey`, `sslnegotiation` and `channel_binding` are known; they win over
settings of that name.
"""

USERS: Final = """\
## `[users.NAME]`

Who may log in, besides the users of the urls. A user from a url may use the databases whose url names that
user, or no user; one with a table of its own may use all of them, as the user of the database's url.
"""


def page() -> str:
    """The page's Markdown."""
    chapters = [INTRODUCTION]
    for chapter in CHAPTERS:
        chapters.append(f"## {chapter.__doc__}\n")
        if chapter is PoolSettings:
            chapters.append("Each of these may also stand in `[databases.NAME]`.\n")
        chapters.append(_table(chapter, chapter.model_fields))
    chapters.append(
        "## Secrets\n\n" + _table(Settings, {"secrets_dir": Settings.model_fields["secrets_dir"]})
    )
    chapters.append(DATABASES)
    own = DatabaseSettings.model_fields.keys() - PoolSettings.model_fields.keys()
    chapters.append(
        _table(DatabaseSettings, {name: DatabaseSettings.model_fields[name] for name in sorted(own)})
    )
    chapters.append(USERS)
    chapters.append(_table(UserSettings, UserSettings.model_fields))
    return "\n".join(chapters)


def _table(model: type[BaseModel], fields: Mapping[str, FieldInfo]) -> str:
    schemas = model.model_json_schema()["properties"]
    lines = ["| setting | default | values | what it does |", "|---|---|---|---|"]
    for name, field in fields.items():
        what = " ".join((field.description or "").split()).replace("|", "\\|")
        lines.append(f"| `{name}` | {_default(field)} | {_values(schemas[name])} | {what} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _values(schema: Mapping[str, Any]) -> str:
    """What may be given: choices, a range, or text; from the JSON schema, which has them all in one form."""
    schema = next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema)
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema["type"] == "boolean":
        return "`true`, `false`"
    if schema["type"] == "array":
        return "names" if "pattern" in schema["items"] else "some of " + _values(schema["items"])
    if schema["type"] not in ("integer", "number"):
        return "text"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    prefix = "above " if "exclusiveMinimum" in schema else ""
    return f"{prefix}{low:,} to {schema['maximum']:,.0f}"
