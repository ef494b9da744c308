"""Columns, data, a constraint; and a value for a type, outside a transaction."""

import sqlalchemy as sa
from alembic import op

revision = "b2"
down_revision = "a1"


def upgrade():
    op.add_column("customer", sa.Column("email", sa.Text))
    op.execute("update customer set email = name || '@example.com'")
    op.alter_column("customer", "email", nullable=False)
    op.alter_column("customer", "name", type_=sa.Text, existing_type=sa.String(50))
    op.create_check_constraint("email_has_at", "customer", "email like '%@%'")
    with op.get_context().autocommit_block():
        op.execute("alter type mood add value if not exists 'ok'")
        op.create_index(
            "customer_email", "customer", ["email"], postgresql_concurrently=True, if_not_exists=True
        )


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("customer_email", "customer", postgresql_concurrently=True)
    op.drop_constraint("email_has_at", "customer")
    op.alter_column("customer", "name", type_=sa.String(50), existing_type=sa.Text)
    op.drop_column("customer", "email")
