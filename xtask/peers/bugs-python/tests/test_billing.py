import datetime

from shop.billing import due, next_month


def test_the_year_ends():
    assert next_month(datetime.date(2024, 12, 5)) == datetime.date(2025, 1, 5)


def test_an_invoice_is_due_in_a_month():
    days = (due() - datetime.date.today()).days
    assert 28 <= days <= 31
