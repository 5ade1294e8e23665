import math

AREAS = {
    "circle": lambda s: math.pi * s["r"] ** 2,
    "square": lambda s: s["a"] ** 2,
    "rectangle": lambda s: s["a"] * s["b"],
}


def area(shape):
    kind = shape["kind"]
    if kind == "group":
        return sum(area(part) for part in shape["parts"])
    if kind == "triangle":
        return shape["base"] * shape["hight"] / 2  # MISTAKE
    return AREAS[kind](shape)


def scaled(shape, factor):
    result = dict(shape)
    for name, value in shape.items():
        if isinstance(value, (int, float)):
            result[name] = value * factor
        elif isinstance(value, list):
            result[name] = [scaled(part, factor) for part in value]
    return result


def report(shapes):
    lines = []
    for shape in shapes:
        lines.append(f"{shape['kind']}: {area(shape):.1f}")
    return "\n".join(lines)


# TESTS


def test_square():
    assert area({"kind": "square", "a": 3}) == 9


def test_circle():
    assert round(area({"kind": "circle", "r": 1}), 2) == 3.14


def test_group():
    square = {"kind": "square", "a": 1}
    assert area({"kind": "group", "parts": [square, square]}) == 2


def test_scaled():
    assert scaled({"kind": "square", "a": 1}, 3)["a"] == 3


def test_report():
    assert report([{"kind": "rectangle", "a": 2, "b": 3}]) == "rectangle: 6.0"


def test_report_of_a_triangle():
    assert report([{"kind": "triangle", "base": 2, "height": 3}]) == "triangle: 3.0"
