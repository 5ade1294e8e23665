def merged(spans):
    """Spans that overlap or touch become one."""
    result = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1]:
            before, end = result[-1]
            result[-1] = (before, last)  # MISTAKE
        else:
            result.append((first, last))
    return result


def length(spans):
    return sum(last - first for first, last in merged(spans))


def without(spans, hole):
    result = []
    start, end = hole
    for first, last in merged(spans):
        if last <= start or first >= end:
            result.append((first, last))
            continue
        if first < start:
            result.append((first, start))
        if last > end:
            result.append((end, last))
    return result


# TESTS


def test_none():
    assert merged([]) == []


def test_apart():
    assert merged([(3, 4), (1, 2)]) == [(1, 2), (3, 4)]


def test_overlap():
    assert merged([(1, 3), (2, 5)]) == [(1, 5)]


def test_inside():
    assert merged([(1, 9), (2, 5)]) == [(1, 9)]


def test_length():
    assert length([(1, 3), (7, 8)]) == 3


def test_without():
    assert without([(1, 9)], (3, 4)) == [(1, 3), (4, 9)]


def test_without_nothing():
    assert without([(1, 2)], (3, 4)) == [(1, 2)]
