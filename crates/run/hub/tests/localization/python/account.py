class Refused(Exception):
    pass


class Account:
    def __init__(self, balance=0, limit=0):
        self.balance = balance
        self.limit = limit
        self.log = []

    def deposit(self, amount):
        if amount <= 0:
            raise Refused("amount")
        self.balance += amount
        self.log.append(("in", amount))

    def withdraw(self, amount):
        if amount <= 0:
            raise Refused("amount")
        if self.balance - amount < self.limit:  # MISTAKE
            raise Refused("balance")
        self.balance -= amount
        self.log.append(("out", amount))

    def fee(self):
        if self.balance >= 1000:
            return 0
        return 5


def transfer(source, target, amount):
    source.withdraw(amount)
    target.deposit(amount)


# TESTS


def test_deposit():
    account = Account()
    account.deposit(5)
    assert account.balance == 5


def test_deposit_nothing():
    try:
        Account().deposit(0)
    except Refused:
        return
    raise AssertionError("accepted")


def test_withdraw():
    account = Account(10)
    account.withdraw(10)
    assert account.log == [("out", 10)]


def test_transfer():
    one, two = Account(10), Account()
    transfer(one, two, 4)
    assert (one.balance, two.balance) == (6, 4)


def test_too_much():
    try:
        Account(3).withdraw(4)
    except Refused:
        return
    raise AssertionError("paid")


def test_overdraft():
    account = Account(3, limit=10)
    account.withdraw(8)
    assert account.balance == -5


def test_fee():
    assert Account(1000).fee() == 0
    assert Account(1).fee() == 5
