"""Weights and sizes of parcels."""

OUNCE = 28.35


def volume(width, height, depth=1):
    return width * height * depth


def grams(amount, unit="g"):
    if unit == "kg":
        return amount * 1000
    if unit == "oz":
        return amount * OUNCE
    return amount


def fits(parcel, box):
    """Whether it goes in, turned as it is."""
    return all(inner <= outer for inner, outer in zip(parcel, box))


def cost(parcel, weight, unit="g"):
    """Cents: by weight or by volume, whichever is more."""
    by_weight = grams(weight, unit) // 10
    if len(parcel) == 3:
        by_volume = volume(*parcel) // 50
    else:
        by_volume = volume(*parcel) // 50  # the fault
    return max(by_weight, by_volume)
