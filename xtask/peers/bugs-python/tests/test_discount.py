from shop.discount import price


def test_a_stranger_pays_all():
    assert price(1000, {}) == 1000


def test_staff_pays_less():
    assert price(1000, {"staff": True}) == 700


def test_old_customers_pay_less():
    assert price(1000, {"years": 3}) == 950
    assert price(1000, {"years": 9}) == 900


def test_a_coupon_of_the_same_rate():
    assert price(1000, {"years": 9}, coupon=10) == 900


def test_the_better_rate_counts():
    assert price(1000, {"years": 3}, coupon=20) == 800
