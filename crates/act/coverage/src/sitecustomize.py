"""Records which lines of the project this process executes, and how often.

Python imports this module by its name before anything else, since its folder stands in PYTHONPATH. What
is found is kept in two files that are mapped into memory, so it is there however the process ends:

    PID-TIME.text    F FILE PATH | D FILE FIRST LAST NAME | L SLOT FILE LINE | X (no room for more)
    PID-TIME.counts  one 64-bit number a slot, in the byte order of the machine

A forked child begins files of its own. What would have been imported by this name is imported.
"""

import _thread
import os
import sys

LINES_MAX = 200_000
TEXT_MAX = 16 * 1024 * 1024
OTHERS = ("site-packages", "dist-packages", ".venv", ".tox", ".nox", "node_modules")


class Record:
    """What one process has executed."""

    def __init__(self, folder, project):
        self.folder = folder
        self.project = os.path.join(os.path.realpath(project), "")
        self.files = {}
        self.functions = {}
        self.begin()

    def begin(self):
        import mmap
        import time

        self.lock = _thread.RLock()
        name = os.path.join(self.folder, f"{os.getpid()}-{time.time_ns()}")
        self.text = self.mapped(mmap, name + ".text", TEXT_MAX)
        self.counts = memoryview(self.mapped(mmap, name + ".counts", 8 * LINES_MAX)).cast("Q")
        self.at = 0
        self.slots = 0
        self.full = False
        # A forked child goes on in functions that its parent has entered.
        for found in self.files.values():
            if found is not None:
                found[1].clear()
                self.write(f"F {found[0]} {found[2]}")
        for function in self.functions.values():
            self.write(function)

    def end(self):
        """Records no more, and leaves the files of the parent alone."""
        self.at = TEXT_MAX
        self.full = True
        self.counts = memoryview(bytearray(8 * LINES_MAX)).cast("Q")

    @staticmethod
    def mapped(mmap, path, size):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.ftruncate(descriptor, size)
            return mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def write(self, line):
        data = (line + "\n").encode("utf-8", "surrogateescape")
        at = self.at
        if at + len(data) > TEXT_MAX - 2:
            if not self.full:
                self.full = True
                self.text[at : at + 2] = b"X\n"
            return False
        self.at = at + len(data)
        self.text[at : self.at] = data
        return True

    def file(self, path):
        """Of a file of the project: its number, the slots of its lines, its path; None for others."""
        try:
            return self.files[path]
        except KeyError:
            pass
        with self.lock:
            if path in self.files:
                return self.files[path]
            found = None
            inside = self.inside(path)
            if inside is not None:
                number = len(self.files)  # Numbers may have gaps.
                if self.write(f"F {number} {inside}"):
                    found = (number, {}, inside)
            self.files[path] = found
            return found

    def inside(self, path):
        if path.startswith("<"):
            return None
        path = os.path.realpath(path)
        if not path.startswith(self.project) or "\n" in path:
            return None
        inside = path[len(self.project) :]
        return None if any(part in OTHERS for part in inside.split(os.sep)) else inside

    def slot(self, number, lines, line):
        """Where the executions of a line are counted; None when there is no room for more."""
        with self.lock:
            if line in lines:
                return lines[line]
            slot = self.slots
            if slot >= LINES_MAX or not self.write(f"L {slot} {number} {line}"):
                if not self.full:
                    self.full = True
                    self.write("X")
                return None
            self.slots = slot + 1
            lines[line] = slot
            return slot

    def function(self, number, code):
        key = (number, code.co_firstlineno, code.co_name)
        if key in self.functions or code.co_name.startswith("<"):
            return
        name = getattr(code, "co_qualname", code.co_name).replace(".<locals>", "")
        function = f"D {number} {code.co_firstlineno} {last_line(code)} {name}"
        self.functions[key] = function
        with self.lock:
            self.write(function)


def last_line(code):
    """Of the function, with the functions inside."""
    if hasattr(code, "co_lines"):
        numbers = [line for _, _, line in code.co_lines() if line]
    else:
        import dis

        numbers = [line for _, line in dis.findlinestarts(code) if line]
    inner = [last_line(c) for c in code.co_consts if hasattr(c, "co_firstlineno")]
    return max([code.co_firstlineno, *numbers, *inner])


def trace_all(record):
    """By sys.settrace, on Python up to 3.11."""
    import threading

    counts = record.counts
    local_of = {}

    def of_file(found):
        number, lines, _ = found

        def local(frame, event, _):
            if event == "line":
                line = frame.f_lineno
                slot = lines.get(line)
                if slot is None:
                    slot = record.slot(number, lines, line)
                    if slot is None:
                        return local
                counts[slot] += 1
            return local

        return local

    def on_call(frame, _event, _argument):
        code = frame.f_code
        path = code.co_filename
        try:
            local = local_of[path]
        except KeyError:
            found = record.file(path)
            local = local_of[path] = found and of_file(found)
        if local is not None:
            record.function(record.files[path][0], code)
        return local

    def forked():
        nonlocal counts
        counts = record.counts

    os.environ["PYTEST_ADDOPTS"] = without_rival(os.environ.get("PYTEST_ADDOPTS", ""))
    threading.settrace(on_call)
    sys.settrace(on_call)
    return forked


def without_rival(options):
    """Only one can trace a process: pytest-cov stays away where it is installed."""
    import importlib.util

    try:
        rival = importlib.util.find_spec("pytest_cov") is not None
    except (ImportError, ValueError):
        rival = False
    return f"{options} --no-cov".strip() if rival and "--no-cov" not in options else options


def monitor_all(record, once):
    """By sys.monitoring, from Python 3.12 on: beside others that do so."""
    monitoring = sys.monitoring
    free = [tool for tool in (4, 3, 5, 2) if monitoring.get_tool(tool) is None]
    if not free:
        raise RuntimeError("no tool of sys.monitoring is free")
    tool = free[0]
    monitoring.use_tool_id(tool, "cohort")

    counts = record.counts
    files = record.files
    # Where it is enough to know that a line was executed, it is not asked for again.
    after = monitoring.DISABLE if once else None

    def on_start(code, _offset):
        found = record.file(code.co_filename)
        if found is not None:
            record.function(found[0], code)
            monitoring.set_local_events(tool, code, monitoring.events.LINE)
        return monitoring.DISABLE

    def on_line(code, line):
        number, lines, _ = files[code.co_filename]
        slot = lines.get(line)
        if slot is None:
            slot = record.slot(number, lines, line)
            if slot is None:
                return monitoring.DISABLE
        counts[slot] += 1
        return after

    def forked():
        nonlocal counts
        counts = record.counts

    monitoring.register_callback(tool, monitoring.events.PY_START, on_start)
    monitoring.register_callback(tool, monitoring.events.LINE, on_line)
    monitoring.set_events(tool, monitoring.events.PY_START)
    return forked


def begin():
    folder = os.environ.get("COHORT_COVERAGE")
    project = os.environ.get("COHORT_COVERAGE_PROJECT")
    if not folder or not project:
        return
    record = Record(folder, project)
    if hasattr(sys, "monitoring"):
        once = os.environ.get("COHORT_COVERAGE_COUNTS") == "no"
        forked = monitor_all(record, once)
    else:
        forked = trace_all(record)

    def in_child():
        try:
            record.begin()
        except OSError:
            record.end()
        forked()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_child)


def give_way():
    """Imports what this module stands in front of."""
    import importlib.machinery
    import importlib.util

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if path and os.path.abspath(path) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


try:
    begin()
except Exception as error:  # The program goes on without being recorded.
    sys.stderr.write(f"cohort: coverage is not recorded: {error}\n")
give_way()
