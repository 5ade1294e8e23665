import pytest

from shop import registry


@pytest.mark.parametrize("cents", [0, 1, 50, 99, 100, 101, 250, 999, 1000, 5000, 9999, 10000, 50000, 99999, 123456])
def test_cash_is_free(cents):
    registry.load()
    assert registry.cost("cash", cents) == cents


@pytest.mark.parametrize("cents", [0, 100, 1000, 10000, 100000])
def test_cards_cost_the_same(cents):
    registry.load()
    assert registry.cost("card", cents) == cents + 30


def test_invoices_cost_more():
    assert registry.cost("invoice", 1000) > registry.cost("card", 1000)
