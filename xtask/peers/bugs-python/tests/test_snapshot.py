from shop.snapshot import store


def test_what_is_stored_can_be_read():
    state = {f"article {number}": {"price": number * 7 % 1000, "left": number % 13} for number in range(1200)}
    assert store(state) == state
