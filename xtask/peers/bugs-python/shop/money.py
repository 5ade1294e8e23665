"""Amounts as text, the way a country writes them."""

STYLE = {"point": ".", "thousands": ","}


def use_style(point, thousands):
    STYLE["point"] = point
    STYLE["thousands"] = thousands


def reset():
    use_style(".", ",")


def text(cents):
    whole, rest = divmod(cents, 100)
    groups = f"{whole:,}".replace(",", STYLE["thousands"])
    return f"{groups}{STYLE['point']}{rest:02}"
