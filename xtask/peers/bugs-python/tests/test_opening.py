from shop.opening import by_day

NOON = 1_700_049_600  # 2023-11-15 12:00 UTC


def test_no_orders():
    assert by_day([]) == {}


def test_orders_of_two_days():
    orders = by_day([NOON, NOON + 11 * 3600, NOON + 13 * 3600])
    assert {day: len(stamps) for day, stamps in orders.items()} == {"2023-11-15": 2, "2023-11-16": 1}
