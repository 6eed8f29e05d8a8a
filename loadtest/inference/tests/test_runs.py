import argparse
import unittest

from harness import cli
from harness.contenders import Bench, venv_of
from harness.runs import figures_of, loads_of, plan
from harness.server import first_request

REPORT = {
    "throughput": 100.0, "ok": 498, "shed": 3, "abandoned": 0, "late": False, "requestBytes": 80,
    "failures": {"wrong": 2, "status-503": 5},
    "latency": {"p50Ms": 1.0, "p90Ms": 2.0, "p99Ms": 3.0, "maxMs": 4.0}, "lag": {"p99Ms": 0.1},
}


def options(**given):
    every = {"scenarios": ["overhead"], "rounds": 2, "models": [], "contenders": [], "variants": [], "concurrency": [], "protocols": []}
    return argparse.Namespace(**{**every, **given})


class Figures(unittest.TestCase):
    def test_cpu_counts_by_what_was_answered_and_the_rest_of_the_machine_by_itself(self):
        found = figures_of(REPORT, wall=5.0, server_cpu=2.0, client_cpu=1.0, busy=3.5, steal=0.0)
        # 498 right and 2 wrong answers; refusals cost the server next to nothing.
        self.assertAlmostEqual(found["server_cpu_s_per_1000"], 4.0)
        self.assertAlmostEqual(found["client_cpu_s_per_1000"], 2.0)
        self.assertAlmostEqual(found["other_cores"], 0.1)
        self.assertEqual((found["wrong"], found["errors"]), (2, 8))


class Plan(unittest.TestCase):
    def test_every_second_round_goes_backwards(self):
        steps = list(plan(Bench(), options()))
        first = [contender["name"] for _, turn, contender, _, _ in steps if turn == 0]
        second = [contender["name"] for _, turn, contender, _, _ in steps if turn == 1]
        self.assertGreater(len(first), 9)
        self.assertEqual(first, second[::-1])

    def test_what_is_asked_for_is_all_that_is_measured(self):
        asked = options(scenarios=["compute", "engine"], rounds=1, contenders=["mlserver"], models=["angle"], variants=["batch8"])
        steps = [(name, contender and contender["name"], model) for name, _, contender, _, model in plan(Bench(), asked)]
        self.assertEqual(steps, [("compute", "mlserver", "angle"), ("engine", None, "angle")])
        overhead = Bench().scenarios["overhead"]
        self.assertEqual(loads_of(overhead, options(concurrency=["8"])), [(8, None)])
        self.assertEqual(loads_of(overhead, options(concurrency=["open"])), [(None, rate) for rate in overhead["rates"]])

    def test_threads_inside_an_engine_are_the_same_for_everybody(self):
        every = options(scenarios=["overhead", "small", "compute", "vision"], rounds=1)
        self.assertEqual({variant["threads"] for _, _, _, variant, _ in plan(Bench(), every)}, {1})


class Contenders(unittest.TestCase):
    def test_every_word_of_an_entry_is_known(self):
        bench = Bench(venvs="venvs", programs="programs")
        variant = {"max_batch": 8, "delay_ms": 2, "instances": 1, "threads": 1}
        for contender in bench.contenders.values():
            words = bench.words(contender, "mlp", variant, "work")
            texts = [*contender["start"], *contender["endpoints"].values(), *contender.get("env", {}).values()]
            for text in [*texts, contender.get("ready_file", "")]:
                self.assertNotIn("{", text.format(**words))

    def test_every_peer_has_its_requirements_pinned(self):
        for contender in Bench().contenders.values():
            if "package" in contender:
                pinned = (cli.install.REQUIREMENTS / f"{venv_of(contender)}.txt").read_text()
                self.assertRegex(pinned, rf"(?m)^{contender['package']}==")
                self.assertRegex(pinned, r"(?m)^onnxruntime==1\.32\.0$")

    def test_a_first_request_has_the_form_of_its_protocol(self):
        case = {
            "inputs": [{"name": "a", "datatype": "FP32", "shape": [1, 2]}, {"name": "b", "datatype": "INT64", "shape": [1, 2]}],
            "samples": [{"inputs": [[0.5, 1.5], [7, 8]]}],
        }
        self.assertEqual(first_request(case, "json"), {"a": [[0.5, 1.5]], "b": [[7, 8]]})
        self.assertEqual(first_request(case, "json-packed"), {"input": [[[0.5, 1.5], [7, 8]]]})
        self.assertEqual(first_request(case, "oip-json")["inputs"][1], {**case["inputs"][1], "data": [7, 8]})


if __name__ == "__main__":
    unittest.main()
