# Runs inside a server of Python, once it has come between two instructions: notes what is allocated from now on, and
# writes what of that is still there in the end, as folded stacks. Where it cannot, it says why.
def watch(out, seconds, asked_by):
    import ast, gc, os, sys, threading, time, tracemalloc

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
            while time.monotonic() - began < seconds and asked():
                time.sleep(0.1)
            if asked():
                gc.collect()
                told()
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

    def told():
        span = time.monotonic() - began
        snapshot = tracemalloc.take_snapshot()
        tracemalloc.stop()
        mine = threading.__file__, tracemalloc.__file__
        lines = ["seconds %.3f" % span]
        for it in snapshot.statistics("traceback"):
            frames = [named(frame) for frame in it.traceback]
            if it.traceback[-1].filename not in mine[1:] and not any("<cohort>" in frame for frame in frames):
                lines.append(";".join(frames) + " %d" % it.size)
        write("\n".join(lines) + "\n")

    threading.Thread(target=run, daemon=True, name="cohort-growth").start()
