import pytest

from shop import money


@pytest.fixture
def plain():
    money.reset()


def test_germany():
    money.use_style(",", ".")
    assert money.text(123456) == "1.234,56"


@pytest.mark.parametrize(
    "cents, expected",
    [
        (0, "0.00"),
        (1, "0.01"),
        (10, "0.10"),
        (99, "0.99"),
        (100, "1.00"),
        (101, "1.01"),
        (1000, "10.00"),
        (9999, "99.99"),
        (12345, "123.45"),
        (99999, "999.99"),
        (100000, "1,000.00"),
        (100001, "1,000.01"),
        (1234567, "12,345.67"),
        (9999999, "99,999.99"),
        (10000000, "100,000.00"),
        (12345678, "123,456.78"),
        (99999999, "999,999.99"),
        (100000000, "1,000,000.00"),
        (123456789, "1,234,567.89"),
        (999999999, "9,999,999.99"),
    ],
)
def test_amounts(plain, cents, expected):
    assert money.text(cents) == expected


def test_a_receipt():
    lines = [f"{name:<8}{money.text(cents):>10}" for name, cents in [("pen", 250), ("desk", 119900)]]
    assert lines == ["pen           2.50", "desk      1,199.00"]
