"""20 threads that use Django's ORM, each with connections that it keeps (CONN_MAX_AGE = None)."""

import datetime
import os
import pathlib
import sys
import uuid
from decimal import Decimal
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import django
import psycopg
from crowd import CLIENTS, tell, threads
from django.conf import settings
from psycopg import IsolationLevel

url = urlsplit(os.environ["DATABASE_URL"])


def database(**options):
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path[1:],
        "USER": url.username,
        "PASSWORD": unquote(url.password),
        "HOST": url.hostname,
        "PORT": url.port,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


# The migrations go where the program runs.
migrations = pathlib.Path("shop_migrations")
migrations.mkdir()
(migrations / "__init__.py").touch()
sys.path.insert(0, ".")
settings.configure(
    DATABASES={
        "default": database(),
        "bound": {**database(server_side_binding=True), "TIME_ZONE": "Europe/Berlin"},
        "serializable": database(isolation_level=IsolationLevel.SERIALIZABLE),
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django_shop"],
    MIGRATION_MODULES={"django_shop": "shop_migrations"},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    TIME_ZONE="Asia/Tokyo",
)
django.setup()

from django.core.management import call_command  # noqa: E402 - only now
from django.db import (  # noqa: E402
    DatabaseError,
    IntegrityError,
    close_old_connections,
    connection,
    connections,
    transaction,
)
from django.db.models import Count, F, Sum  # noqa: E402
from django.db.models.functions import TruncDay  # noqa: E402
from django.utils import timezone  # noqa: E402
from django_shop.models import Customer, Order, Stock  # noqa: E402


def state(error):
    return error.__cause__.sqlstate


def create(n):
    born = datetime.datetime(2001, 2, 3, 23, 5, 6, tzinfo=datetime.UTC)
    customer = Customer.objects.create(
        client=n,
        name=f"customer {n}",
        born=born,
        document={"client": n, "list": [1, None]},
        tags=["größe", str(n)],
    )
    Order.objects.bulk_create(
        Order(
            customer=customer,
            number=number,
            amount=Decimal(number) / 4 + n,
            key=uuid.UUID(int=n * 100 + number),
        )
        for number in range(500)
    )
    found = Customer.objects.prefetch_related("orders").get(client=n)
    return [
        found.name, str(found.born), found.document, found.tags,
        [[o.number, str(o.amount), str(o.key)] for o in found.orders.order_by("number")[:5]],
    ]  # fmt: skip


def query(n):
    mine = Order.objects.filter(customer__client=n)
    mine.filter(number__lt=10).update(amount=F("amount") + 1)
    return [
        str(mine.aggregate(Sum("amount"))["amount__sum"]),
        list(
            Customer.objects.filter(client=n)
            .annotate(orders_made=Count("orders"))
            .values_list("name", "orders_made")
        ),
        [[o.number, o.customer.name] for o in mine.select_related("customer").order_by("-number")[:3]],
        Customer.objects.get_or_create(client=n, name="got")[1],
        Customer.objects.get_or_create(client=n, name="got")[1],
        Customer.objects.update_or_create(client=n, name="got", defaults={"tags": ["again"]})[1],
        list(
            Customer.objects.filter(client=n, document__list__0=1, tags__contains=[str(n)]).values_list(
                "name", flat=True
            )
        ),
        mine.filter(number__gte=400).delete()[0],
        bool(Customer.objects.filter(client=n).explain()),
    ]


def atomic(n):
    done, failed = [], []
    with transaction.atomic():
        transaction.on_commit(lambda: done.append("committed"))
        Customer.objects.create(client=n, name="outer")
        for _ in range(3):
            try:
                with transaction.atomic():
                    Customer.objects.create(client=n, name="inner")
                    Customer.objects.create(client=n, name="outer")
            except IntegrityError as error:
                failed.append(state(error))
        with transaction.atomic():
            Customer.objects.create(client=n, name="kept")
            transaction.on_commit(lambda: done.append("inner committed"))
    try:
        with transaction.atomic():
            Customer.objects.create(client=n, name="undone")
            raise LookupError
    except LookupError:
        pass
    return [
        failed,
        done,
        list(Customer.objects.filter(client=n).order_by("name").values_list("name", flat=True)),
    ]


def lock(n):
    with transaction.atomic():
        row = Stock.objects.select_for_update().get(name="locked")
        row.pieces -= 1
        row.save()
    Stock.objects.filter(name="counted").update(pieces=F("pieces") - 1)
    with transaction.atomic():
        return Stock.objects.select_for_update(skip_locked=True).filter(name="nothing").count()


def iterate(n):
    """Outside a transaction Django declares its cursor WITH HOLD."""
    rows = Order.objects.filter(customer__client=n).order_by("number")
    outside = [o.number for o in rows.iterator(chunk_size=50)]
    part = rows.iterator(chunk_size=50)
    first = next(part).number
    part.close()
    with transaction.atomic():
        inside = [o.number for o in rows.iterator(chunk_size=50)]
    return [outside == inside, len(inside), first]


def zones(n):
    born = Customer.objects.filter(client=n, born__isnull=False)
    seen = [
        str(born.get().born),
        str(born.annotate(day=TruncDay("born")).get().day),
        str(born.annotate(day=TruncDay("born", tzinfo=ZoneInfo("America/New_York"))).get().day),
        str(born.filter(born__date=datetime.date(2001, 2, 4)).count()),
    ]
    with timezone.override("America/New_York"):
        seen.append(born.filter(born__date=datetime.date(2001, 2, 3)).count())
    for alias in ("default", "bound"):
        with connections[alias].cursor() as cursor:
            cursor.execute("show timezone")
            seen.append(cursor.fetchone()[0])
    seen.append(str(born.using("bound").get().born))
    return seen


def bound(n):
    """Parameters bound by the server, and a connection whose isolation level is its own."""
    seen = []
    for turn in range(8):
        seen.append(Order.objects.using("bound").filter(customer__client=n, number__gte=turn).count())
    with transaction.atomic(using="serializable"), connections["serializable"].cursor() as cursor:
        cursor.execute("show transaction_isolation")
        seen.append(cursor.fetchone()[0])
    with connection.cursor() as cursor:
        cursor.execute("show transaction_isolation")
        seen.append(cursor.fetchone()[0])
    return seen


def errors(n):
    seen = []
    for statement in ("select 1/0", "select * from nosuch", "selec"):
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        except DatabaseError as error:
            seen.append(state(error))
    try:
        with transaction.atomic():
            try:
                Customer.objects.create(client=n, name="outer")
            except IntegrityError as error:
                seen.append(state(error))
            Customer.objects.count()
    except transaction.TransactionManagementError as error:
        seen.append(str(error))
    return seen


def raw(n):
    with connection.cursor() as cursor:
        cursor.execute("select %s::int + 1, %s", [n, "text"])
        seen = [list(cursor.fetchone())]
        cursor.executemany("update django_shop_customer set tags = %s where client = %s", [(["many"], n)] * 3)
        with cursor.copy(
            "copy (select name from django_shop_customer where client = %s order by name) to stdout", [n]
        ) as copy:
            seen.append(b"".join(copy).decode())
    seen.append(
        [
            c.name
            for c in Customer.objects.raw(
                "select * from django_shop_customer where client = %s order by name", [n]
            )
        ]
    )
    return seen


STEPS = (create, query, atomic, lock, iterate, zones, bound, errors, raw)


def client(n):
    for step in STEPS:
        close_old_connections()  # as at the beginning and the end of each request
        tell(n, step.__name__, step(n))
        close_old_connections()
    connections.close_all()


def migrate(*target):
    call_command("migrate", "django_shop", *target, verbosity=0)


def main():
    tell(None, "versions", {"Django": django.__version__, "psycopg": psycopg.__version__})
    call_command("makemigrations", "django_shop", verbosity=0)
    migrate()
    migrate("zero")
    tell(None, "tables after zero", connection.introspection.table_names())
    migrate()
    Stock.objects.bulk_create(Stock(name=name, pieces=CLIENTS) for name in ("locked", "counted"))
    threads(client)
    tell(None, "stock", list(Stock.objects.order_by("name").values_list("name", "pieces")))
    tell(None, "tables", sorted(connection.introspection.table_names()))


main()
