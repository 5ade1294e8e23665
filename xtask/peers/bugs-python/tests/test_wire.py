from shop.wire import ask, serve


def test_servers_have_ports_of_their_own():
    assert serve(b"yes") != serve(b"no")


def test_a_long_answer():
    catalogue = b"pens and books and desks\n" * 3000
    assert ask(serve(catalogue), b"what is there?") == catalogue
