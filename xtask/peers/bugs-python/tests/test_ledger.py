import threading

from shop.ledger import Account


def test_deposits_add_up():
    account = Account()
    account.deposit(3, "pen")
    account.deposit(4, "book")
    assert account.balance == 7
    assert len(account.lines) == 2


def test_tills_book_on_one_account():
    account = Account()

    def till(number):
        for receipt in range(4000):
            account.deposit(1, f"till {number}, {receipt}")

    tills = [threading.Thread(target=till, args=(number,)) for number in range(3)]
    for thread in tills:
        thread.start()
    for thread in tills:
        thread.join()
    assert account.balance == 12000
