import unittest

from harness.verdicts import judge, targets, verdicts

from .measured import engine, figures, run

ECHO = {
    "name": "g", "text": "t", "of": "ours", "scenario": "overhead", "model": "mlp", "variant": "default", "load": "c=64",
    "figure": "rps", "against": ["floor-echo", "floor-grpc"], "at_least": 0.6,
}


class Bounds(unittest.TestCase):
    def judged(self, target, *rows, protocol="oip-json"):
        return judge(figures(*rows), {**ECHO, **target}, protocol)

    def test_a_bound_is_met_on_it_and_missed_beside_it(self):
        for own, met in ((60.0, True), (59.9, False), (90.0, True)):
            verdict = self.judged({}, run("ours", "oip-json", rps=own), run("floor-echo", "oip-json", rps=100.0))
            self.assertEqual(verdict.met, met, own)
            self.assertAlmostEqual(verdict.value, own / 100)

    def test_at_most_and_below_look_the_other_way(self):
        at_most = {"figure": "p50_ms", "at_most": 1.6}
        below = {"figure": "p50_ms", "difference": True, "below": 0.5}
        for target in (at_most, below):
            target["at_least"] = None
        for target, own, met in ((at_most, 1.6, True), (at_most, 1.61, False), (below, 1.49, True), (below, 1.5, False)):
            target = {key: value for key, value in {**ECHO, **target}.items() if value is not None}
            rows = run("ours", "oip-json", p50_ms=own), run("floor-echo", "oip-json", p50_ms=1.0)
            self.assertEqual(judge(figures(*rows), target, "oip-json").met, met, (target, own))

    def test_the_figure_of_rounds_is_their_median(self):
        own = [run("ours", "oip-json", rps=rate) for rate in (10.0, 70.0, 75.0)]
        theirs = [run("floor-echo", "oip-json", rps=rate) for rate in (100.0, 100.0, 1000.0)]
        self.assertAlmostEqual(self.judged({}, *own, *theirs).value, 0.7)

    def test_the_floor_is_the_one_of_the_same_protocol(self):
        rows = run("ours", "oip-grpc", rps=50.0), run("floor-echo", "oip-json", rps=400.0), run("floor-grpc", "oip-grpc", rps=100.0)
        self.assertAlmostEqual(self.judged({}, *rows, protocol="oip-grpc").value, 0.5)

    def test_who_lacks_the_protocol_is_held_against_by_the_best_it_has(self):
        rows = run("ours", "oip-binary", rps=100.0), run("peer", "oip-json", rps=10.0), run("peer", "oip-grpc", rps=20.0)
        verdict = self.judged({"against": ["peer"]}, *rows, protocol="oip-binary")
        self.assertAlmostEqual(verdict.value, 5)
        self.assertIn("its oip-grpc", verdict.note)

    def test_the_best_of_a_latency_is_the_smallest(self):
        rows = run("ours", "oip-binary", p50_ms=1.0), run("peer", "oip-json", p50_ms=4.0), run("peer", "oip-grpc", p50_ms=2.0)
        verdict = self.judged({"against": ["peer"], "figure": "p50_ms"}, *rows, protocol="oip-binary")
        self.assertAlmostEqual(verdict.value, 0.5)

    def test_wrong_answers_miss_every_target(self):
        rows = run("ours", "oip-json", rps=100.0, wrong=1), run("floor-echo", "oip-json", rps=100.0)
        verdict = self.judged({}, *rows)
        self.assertIs(verdict.met, False)
        self.assertIn("1 wrong", verdict.note)

    def test_what_was_not_measured_is_neither_met_nor_missed(self):
        self.assertIsNone(self.judged({}, run("floor-echo", "oip-json")).met)
        self.assertIsNone(self.judged({}, run("ours", "oip-json")).met)
        self.assertIsNone(self.judged({}, run("ours", "oip-json"), run("floor-echo", "oip-json", load="c=1")).met)

    def test_a_client_at_its_limit_is_told(self):
        rows = run("ours", "oip-json"), run("floor-echo", "oip-json", client_cores=0.99)
        self.assertIn("client was at its limit", self.judged({}, *rows).note)

    def test_the_engine_counts_with_its_best_batch_and_as_many_callers_as_there_are_instances(self):
        target = {key: value for key, value in ECHO.items() if key != "against"} | {"engine": True, "at_least": 0.95}
        engines = engine("mlp", 1, 1, 50.0), engine("mlp", 1, 8, 100.0), engine("mlp", 2, 8, 200.0)
        for instances, value in ((1, 0.95), (2, 0.475)):
            own = run("ours", "oip-json", rps=95.0, instances=instances)
            verdict = judge(figures(own, *engines), target, "oip-json")
            self.assertAlmostEqual(verdict.value, value)
            self.assertEqual(verdict.met, instances == 1)


class Targets(unittest.TestCase):
    def test_every_target_can_be_judged_and_has_one_bound(self):
        found = verdicts(figures())
        self.assertGreater(len(found), 30)
        self.assertEqual({verdict.met for verdict in found}, {None})

    def test_a_target_for_each_peer_is_one_for_each(self):
        bounds = {target["against"][0]: target["at_least"] for target in targets() if "each" in target}
        self.assertEqual(bounds["pytriton"], 10)
        self.assertEqual(bounds["mlserver"], 20)


if __name__ == "__main__":
    unittest.main()
