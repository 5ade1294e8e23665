def split(line):
    """Fields of a line of comma separated values."""
    fields = []
    field = ""
    quoted = False
    place = 0
    while place < len(line):
        sign = line[place]
        if quoted:
            if sign == '"':
                if line[place + 1] == '"':  # MISTAKE
                    field += '"'
                    place += 1
                else:
                    quoted = False
            else:
                field += sign
        elif sign == '"':
            quoted = True
        elif sign == ",":
            fields.append(field)
            field = ""
        else:
            field += sign
        place += 1
    fields.append(field)
    return fields


def join(fields):
    return ",".join(quote(field) for field in fields)


def quote(field):
    if "," in field or '"' in field:
        return '"' + field.replace('"', '""') + '"'
    return field


# TESTS


def test_plain():
    assert split("a,b,c") == ["a", "b", "c"]


def test_empty():
    assert split("") == [""]


def test_quoted():
    assert split('"a,b",c') == ["a,b", "c"]


def test_double():
    assert split('"a""b",c') == ['a"b', "c"]


def test_quoted_at_the_end():
    assert split('a,"b,c"') == ["a", "b,c"]


def test_join():
    assert join(["a", "b,c"]) == 'a,"b,c"'


def test_join_plain():
    assert join(["a", "b"]) == "a,b"
