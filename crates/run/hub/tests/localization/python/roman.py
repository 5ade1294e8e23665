VALUES = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
]


def to_roman(number):
    if not 0 < number < 4000:
        raise ValueError(number)
    text = ""
    for value, sign in VALUES:
        while number >= value:
            text += sign
            number -= value
    return text


def from_roman(text):
    digits = {"M": 1000, "D": 500, "C": 100, "L": 50, "X": 10, "V": 5, "I": 1}
    total = 0
    for place, sign in enumerate(text):
        value = digits[sign]
        after = text[place + 1] if place + 1 < len(text) else None
        if after is not None and digits[after] > value:
            total += value  # MISTAKE
        else:
            total += value
    return total


# TESTS


def test_to_one():
    assert to_roman(1) == "I"


def test_to_many():
    assert to_roman(1994) == "MCMXCIV"


def test_to_none():
    try:
        to_roman(0)
    except ValueError:
        return
    raise AssertionError("accepted")


def test_from_one():
    assert from_roman("I") == 1


def test_from_sum():
    assert from_roman("XVI") == 16


def test_from_large():
    assert from_roman("MMD") == 2500


def test_from_difference():
    assert from_roman("XIV") == 14
