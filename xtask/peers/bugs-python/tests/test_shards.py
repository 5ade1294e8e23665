from shop.shards import Cluster


def test_parts_are_spread():
    cluster = Cluster(f"server-{number}" for number in range(5))
    for part in range(10):
        cluster.place(part)
    assert sorted(list(cluster.parts.values()).count(server) for server in cluster.servers) == [2] * 5


def test_a_server_leaves():
    cluster = Cluster(f"server-{number}" for number in range(30))
    for part in range(30):
        cluster.place(part)
    cluster.leave("server-7")
    assert "server-7" not in cluster.parts.values()
    assert len(cluster.servers) == 29
