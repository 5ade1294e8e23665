from shop.units import cost, fits


def test_heavy_parcels():
    assert cost((10, 10, 10), 2, "kg") == 200


def test_large_parcels():
    assert cost((50, 50, 10), 100) == 500


def test_ounces():
    assert cost((1, 1, 1), 100, "oz") == 283


def test_boxes():
    assert fits((1, 2, 3), (1, 2, 3))
    assert not fits((1, 2, 4), (1, 2, 3))


def test_envelopes_are_five_thick():
    assert cost((30, 20), 20) == 60
