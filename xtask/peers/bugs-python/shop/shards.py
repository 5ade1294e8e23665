"""Which server keeps which part of the data."""


class Cluster:
    def __init__(self, servers):
        self.servers = set(servers)
        self.parts = {}

    def place(self, part):
        """On the server that has least."""
        load = {server: 0 for server in self.servers}
        for server in self.parts.values():
            load[server] += 1
        self.parts[part] = min(load, key=load.get)

    def leave(self, server):
        """What it kept goes to others."""
        for part, keeper in self.parts.items():
            if keeper == server:
                self.parts[part] = next(iter(self.servers))
        self.servers.discard(server)
