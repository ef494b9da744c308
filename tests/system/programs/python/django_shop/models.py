"""Its tables. The migrations are made by the program itself."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Customer(models.Model):
    client = models.IntegerField(db_index=True)
    name = models.CharField(max_length=50)
    born = models.DateTimeField(null=True)
    document = models.JSONField(default=dict)
    tags = ArrayField(models.CharField(max_length=20), default=list)

    class Meta:
        unique_together = (("client", "name"),)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    number = models.IntegerField()
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    key = models.UUIDField()


class Stock(models.Model):
    name = models.CharField(max_length=20, unique=True)
    pieces = models.IntegerField()
