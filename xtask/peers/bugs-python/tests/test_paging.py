from shop.paging import page, pages

ITEMS = list(range(25))


def test_pages_are_counted():
    assert (pages(25, 10), pages(20, 10), pages(0, 10)) == (3, 2, 0)


def test_the_first_page():
    assert page(ITEMS, 1) == list(range(10))


def test_beyond_the_end():
    assert page(ITEMS, 4) == []
    assert page(ITEMS, -9) == []


def test_the_last_page():
    assert page(ITEMS, -1) == [20, 21, 22, 23, 24]
