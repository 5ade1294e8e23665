PORTS = {"http": 80, "ftp": 21}


class Malformed(ValueError):
    pass


def parse(text):
    scheme, found, rest = text.partition("://")
    if not found:
        raise Malformed(text)
    host, slash, path = rest.partition("/")
    name, colon, port = host.partition(":")
    if colon:
        number = int(port)
    else:
        number = default_port(scheme)
    return {"scheme": scheme, "host": name, "port": number, "path": slash + path}


def default_port(scheme):
    if scheme.endswith("s"):
        return PORTS[scheme[:-1]]  # MISTAKE
    return PORTS[scheme]


def render(parts):
    text = f"{parts['scheme']}://{parts['host']}"
    if parts["port"] != default_port(parts["scheme"]):
        text += f":{parts['port']}"
    return text + parts["path"]


# TESTS


def test_plain():
    assert parse("http://a/b")["path"] == "/b"


def test_port():
    assert parse("http://a:8080/b")["port"] == 8080


def test_malformed():
    try:
        parse("a/b")
    except Malformed:
        return
    raise AssertionError("accepted")


def test_secure():
    assert parse("https://a/b")["port"] == 443


def test_render():
    assert render(parse("http://a:81/b")) == "http://a:81/b"


def test_render_default():
    assert render(parse("ftp://a")) == "ftp://a"
