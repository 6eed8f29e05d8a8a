"""onnxruntime alone, called in a loop: what a server adds its cost to. `engine_alone.py CASE BATCHES SECONDS CALLERS` prints JSON."""
import json
import sys
import threading
import time

import numpy as np

import given


def feeds_of(case, rows):
    dtypes = {"FP32": np.float32, "INT64": np.int64}
    feeds = {}
    for k, spec in enumerate(case["inputs"]):
        samples = [case["samples"][i % len(case["samples"])]["inputs"][k] for i in range(rows)]
        feeds[spec["name"]] = np.asarray(samples, dtypes[spec["datatype"]]).reshape(rows, *spec["shape"][1:])
    return feeds


def loop(engine, feeds, seconds, out):
    times = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        engine.run(None, feeds)
        times.append(time.perf_counter() - begin)
    out.append(times)


def measure(engine, feeds, rows, callers, seconds):
    loop(engine, feeds, 0.5, [])
    out, begin, cpu = [], time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=loop, args=(engine, feeds, seconds, out)) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    times = np.sort(np.concatenate(out))
    n = len(times) * rows
    return {
        "rows": rows,
        "callers": callers,
        "rows_per_s": n / wall,
        "p50_ms": float(times[len(times) // 2] * 1e3),
        "p99_ms": float(times[int(len(times) * 0.99)] * 1e3),
        "cpu_s_per_1000": cpu / n * 1e3,
    }


def main():
    with open(sys.argv[1]) as file:
        case = json.load(file)
    batches, seconds, callers = json.loads(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    engine = given.session()
    print(json.dumps([measure(engine, feeds_of(case, rows), rows, callers, seconds) for rows in batches]))


main()
