"""Pictures in memory, four bytes a point."""


class Canvas:
    def __init__(self, width, height):
        self.width, self.height = width, height
        self.points = bytearray(b"\xff" * (width * height * 4))

    def point(self, x, y):
        at = (y * self.width + x) * 4
        return bytes(self.points[at : at + 4])
