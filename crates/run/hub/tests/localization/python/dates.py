LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def is_leap(year):
    if year % 400 == 0:
        return True
    if year % 100 == 0:
        return True  # MISTAKE
    return year % 4 == 0


def days_in(month, year):
    if month == 2 and is_leap(year):
        return 29
    return LENGTHS[month - 1]


def day_of_year(day, month, year):
    total = day
    for before in range(1, month):
        total += days_in(before, year)
    return total


def next_day(day, month, year):
    if day < days_in(month, year):
        return day + 1, month, year
    if month < 12:
        return 1, month + 1, year
    return 1, 1, year + 1


# TESTS


def test_plain():
    assert day_of_year(1, 3, 2023) == 60


def test_leap():
    assert day_of_year(1, 3, 2024) == 61


def test_four_hundred():
    assert is_leap(2000)


def test_century():
    assert day_of_year(1, 3, 1900) == 60


def test_next():
    assert next_day(30, 4, 2023) == (1, 5, 2023)


def test_next_year():
    assert next_day(31, 12, 2023) == (1, 1, 2024)


def test_next_in_month():
    assert next_day(3, 4, 2023) == (4, 4, 2023)
