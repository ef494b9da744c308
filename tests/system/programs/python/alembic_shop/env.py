"""Alembic's environment: the models of the program, and each migration in a transaction of its own."""

from alembic import context
from migrated import Base, engine

with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transaction_per_migration=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()
