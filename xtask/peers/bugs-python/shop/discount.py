"""What a customer pays less."""


def rate(customer):
    years = customer.get("years", 0)
    if customer.get("staff"):
        return 30
    if years > 5:
        return 10
    if years >= 2:
        return 5
    return 0


def price(cents, customer, coupon=None):
    percent = rate(customer)
    if coupon is not None:
        percent = min(percent, coupon)  # the fault
    return cents - cents * percent // 100
