def widths(rows):
    count = max(len(row) for row in rows)
    result = [0] * count
    for row in rows:
        for place, cell in enumerate(row):
            result[place] = max(result[place], len(str(cell)))
    return result


def aligned(cell, width, how):
    text = str(cell)
    space = width - len(text)
    if how == "left":
        return text + " " * space
    if how == "right":
        return " " * space + text
    before = space // 2
    return " " * before + text + " " * before  # MISTAKE


def render(rows, how="left"):
    sizes = widths(rows)
    lines = []
    for row in rows:
        cells = [aligned(cell, size, how) for cell, size in zip(row, sizes)]
        lines.append("|".join(cells))
    return "\n".join(lines)


def numbered(rows):
    return [[number, *row] for number, row in enumerate(rows, 1)]


# TESTS


def test_widths():
    assert widths([["a", "bcd"], ["ef", "g"]]) == [2, 3]


def test_left():
    assert render([["a"], ["bcd"]]) == "a  \nbcd"


def test_right():
    assert render([["a"], ["bcd"]], "right") == "  a\nbcd"


def test_middle():
    assert render([["a"], ["bcd"]], "middle") == " a \nbcd"


def test_middle_of_even_width():
    assert render([["a"], ["bcde"]], "middle") == " a  \nbcde"


def test_numbered():
    assert numbered([["a"]]) == [[1, "a"]]
