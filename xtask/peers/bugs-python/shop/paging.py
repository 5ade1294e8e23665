"""A long list, page by page."""


def pages(total, size):
    full, rest = divmod(total, size)
    return full + bool(rest)


def page(items, number, size=10):
    """One page, the first has number 1; a negative number counts from the end."""
    count = pages(len(items), size)
    if number < 0:
        number = count + number  # the fault
    if not 1 <= number <= count:
        return []
    start = (number - 1) * size
    return items[start : start + size]
