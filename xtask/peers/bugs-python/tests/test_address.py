from shop.address import label

ANN = {"name": "Ann", "street": "Main Street", "number": 5, "zip": "12345", "city": "Rome"}


def test_a_person():
    assert label(ANN) == ["Ann", "Main Street 5", "12345 Rome"]


def test_a_street_without_numbers():
    assert label({**ANN, "number": None})[1] == "Main Street"


def test_a_company():
    assert label({**ANN, "company": "Acme"})[1] == "ACME"


def test_no_company_given():
    assert label({**ANN, "company": None}) == ["Ann", "Main Street 5", "12345 Rome"]
