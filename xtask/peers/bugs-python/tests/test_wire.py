from shop.wire import ask, serve


def test_a_short_answer():
    assert ask(serve(b"yes"), b"is it open?") == b"yes"


def test_a_long_answer():
    catalogue = b"pens and books and desks\n" * 3000
    assert ask(serve(catalogue), b"what is there?") == catalogue
