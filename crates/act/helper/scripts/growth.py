# Runs inside a server of Python, once it has come between two instructions: notes what is allocated from now on, and
# writes what of that is still there in the end, as folded stacks: memory, or files and sockets that are open and threads
# that run. Where it cannot, it says why.
def watch(out, seconds, asked_by, what):
    import ast, gc, io, os, socket, sys, threading, time, tracemalloc

    def write(text):
        with open(out + "/grown.part", "w") as file:
            file.write(text)
        os.rename(out + "/grown.part", out + "/grown")

    if tracemalloc.is_tracing():
        return write("failed: tracemalloc is used by the server itself\n")
    began = time.monotonic()
    tracemalloc.start(12)

    def asked():
        return os.path.exists("/proc/%d" % asked_by)

    def run():
        try:
            early = None
            while time.monotonic() - began < seconds and asked():
                time.sleep(0.1)
                # What is opened later than this may still be closed.
                if what == "descriptors" and early is None and time.monotonic() - began > 0.7 * seconds:
                    early = {id(it) for it in lasting()}
            if asked():
                gc.collect()
                told(early)
        except Exception as error:
            write("failed: %r\n" % error)
        finally:
            tracemalloc.stop()

    functions = {}

    def function(filename, line):
        """The innermost function in whose lines this one is."""
        if filename not in functions:
            try:
                with open(filename, encoding="utf-8") as file:
                    nodes = list(ast.walk(ast.parse(file.read())))
            except Exception:
                nodes = []
            kinds = ast.FunctionDef, ast.AsyncFunctionDef
            nodes = [node for node in nodes if isinstance(node, kinds)]
            functions[filename] = [(node.lineno, node.end_lineno or node.lineno, node.name) for node in nodes]
        around = [it for it in functions[filename] if it[0] <= line <= it[1]]
        return max(around)[2] if around else "<module>"

    def named(frame):
        library = frame.filename.startswith((sys.prefix, sys.base_prefix, "<"))
        name = "?" if library else function(frame.filename, frame.lineno)
        return "%s (%s:%d)" % (name, frame.filename, frame.lineno)

    def lasting():
        """Files and sockets that are open, and threads that run."""
        for it in gc.get_objects():
            kind = type(it)
            if issubclass(kind, (io.FileIO, socket.socket)):
                try:
                    if it.fileno() >= 0:
                        yield it
                except Exception:
                    pass
            elif issubclass(kind, threading.Thread) and it.is_alive():
                yield it

    def told(early):
        span = time.monotonic() - began
        if what == "descriptors":
            span *= 0.7
            all = [(tracemalloc.get_object_traceback(it), 1) for it in lasting() if id(it) in (early or ())]
            tracemalloc.stop()
        else:
            snapshot = tracemalloc.take_snapshot()
            tracemalloc.stop()
            all = [(it.traceback, it.size) for it in snapshot.statistics("traceback")]
        lines = ["seconds %.3f" % span]
        for traceback, size in all:
            frames = [named(frame) for frame in traceback or ()]
            if frames and traceback[-1].filename != tracemalloc.__file__ and not any("<cohort>" in frame for frame in frames):
                lines.append(";".join(frames) + " %d" % size)
        write("\n".join(lines) + "\n")

    threading.Thread(target=run, daemon=True, name="cohort-growth").start()
