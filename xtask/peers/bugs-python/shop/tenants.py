"""A log file for each tenant."""


class Logs:
    def __init__(self, folder):
        self.folder = folder
        self.files = {}

    def write(self, tenant, text):
        if tenant not in self.files:
            self.files[tenant] = open(f"{self.folder}/{tenant}.log", "a")
        self.files[tenant].write(text + "\n")

    def close(self):
        for file in self.files.values():
            file.close()
        self.files.clear()
