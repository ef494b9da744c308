"""Two tables and a type."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "a1"
down_revision = None


def upgrade():
    op.create_table(
        "customer",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("mood", sa.Enum("sad", "happy", name="mood"), server_default="happy"),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("customer_id", sa.Integer, sa.ForeignKey("customer.id", name="orders_customer")),
        sa.Column("document", postgresql.JSONB),
    )
    op.bulk_insert(sa.table("customer", sa.column("name")), [{"name": f"customer {n}"} for n in range(100)])


def downgrade():
    op.drop_table("orders")
    op.drop_table("customer")
    op.execute("drop type mood")
