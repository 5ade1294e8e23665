from shop.experiment import shares


def test_everybody_or_nobody():
    assert shares(100, 1.0) == 1.0
    assert shares(100, 0.0) == 0.0


def test_visitors_are_shared_evenly():
    assert abs(shares(1000) - 0.5) < 0.04
