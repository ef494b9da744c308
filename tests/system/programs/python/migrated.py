"""What Alembic's migrations are to arrive at, and one column more, for autogenerate to find."""

import os

from sqlalchemy import Enum, ForeignKey, Index, Text, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg://"), pool_size=20
)


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    mood: Mapped[str | None] = mapped_column(Enum("sad", "happy", "ok", name="mood"), server_default="happy")
    email: Mapped[str] = mapped_column(Text)
    phone: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (Index("customer_email", "email"),)


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customer.id"))
    document: Mapped[dict | None] = mapped_column(JSONB)


class Steady(Base):
    """What the other clients use meanwhile."""

    __tablename__ = "steady"

    id: Mapped[int] = mapped_column(primary_key=True)
    client: Mapped[int]
    n: Mapped[int]
