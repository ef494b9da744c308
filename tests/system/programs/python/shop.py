"""The tables of the SQLAlchemy programs."""

import datetime
import os
import uuid
from decimal import Decimal

from sqlalchemy import ForeignKey, String, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

URL = os.environ["DATABASE_URL"].partition("://")[2]


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"

    id: Mapped[int] = mapped_column(primary_key=True)
    client: Mapped[int] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(50))
    seen: Mapped[datetime.datetime | None]
    orders: Mapped[list["Order"]] = relationship(back_populates="customer", order_by="Order.number")
    __table_args__ = (UniqueConstraint("client", "name"),)


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    number: Mapped[int]
    amount: Mapped[Decimal]
    key: Mapped[uuid.UUID]
    tags: Mapped[list[str]] = mapped_column(ARRAY(String))
    document: Mapped[dict] = mapped_column(JSONB)
    made_at: Mapped[datetime.datetime] = mapped_column(server_default=func.now())
    customer: Mapped[Customer] = relationship(back_populates="orders")


class Stock(Base):
    """One row that all clients change: who wins is theirs to settle."""

    __tablename__ = "stock"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    pieces: Mapped[int]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


def order(client, number):
    """An order whose every column tells whose it is."""
    return Order(
        number=number,
        amount=Decimal(client) + Decimal(number) / 100,
        key=uuid.UUID(int=client * 1000 + number),
        tags=[f"of {client}", "größe"],
        document={"client": client, "numbers": [number, None]},
    )


def plain(found):
    """An order as JSON."""
    return [found.number, str(found.amount), str(found.key), found.tags, found.document]
