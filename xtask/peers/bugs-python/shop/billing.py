"""When invoices are due."""

import datetime


def next_month(day):
    """The same day of the next month."""
    year = day.year + day.month // 12
    return day.replace(year=year, month=day.month % 12 + 1)


def due(today=None):
    """An invoice of today is due in a month."""
    return next_month(today or datetime.date.today())
