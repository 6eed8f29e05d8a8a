import unittest

from harness.report import insert, profiles, report

from .measured import engine, figures, run

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


class Place(unittest.TestCase):
    def test_what_stands_around_the_section_stays(self):
        first = insert("# Mesh\n\nfigures\n", "old\n", "bench")
        self.assertEqual(first, f"# Mesh\n\nfigures\n\n{BEGIN}\nold\n{END}\n")
        second = insert(first + "after\n", "new\n", "bench")
        self.assertEqual(second, f"# Mesh\n\nfigures\n\n{BEGIN}\nnew\n{END}\nafter\n")

    def test_writing_the_same_again_changes_nothing(self):
        once = insert("# Mesh\n", "same\n", "bench")
        self.assertEqual(insert(once, "same\n", "bench"), once)

    def test_an_empty_file_begins_with_the_section(self):
        self.assertEqual(insert("", "x\n", "bench"), f"{BEGIN}\nx\n{END}\n")

    def test_a_torn_section_is_refused(self):
        with self.assertRaises(ValueError):
            insert(f"a\n{BEGIN}\nb\n", "x\n", "bench")


class Tables(unittest.TestCase):
    def rows_of(self, text, heading):
        part = text.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]
        return [line for line in part.splitlines() if line.startswith("| ")][1:]

    def test_the_fastest_stands_first_and_has_the_median_of_its_rounds(self):
        slow = [run("slow", "oip-json", rps=rate) for rate in (10.0, 11.0, 12.0)]
        fast = [run("fast", "json", rps=rate) for rate in (20.0, 90.0, 30.0)]
        rows = self.rows_of(report(figures(*slow, *fast)), "overhead, mlp, default: HTTP JSON, c=64")
        self.assertTrue(rows[0].startswith("| fast | 30 (20-90) |"), rows)
        self.assertTrue(rows[1].startswith("| slow | 11 (10-12) |"), rows)

    def test_in_an_open_loop_the_quickest_stands_first(self):
        rows = [run("a", "oip-json", load="100/s", p50_ms=2.0), run("b", "oip-json", load="100/s", p50_ms=1.0)]
        rows = self.rows_of(report(figures(*rows)), "overhead, mlp, default: HTTP JSON, 100/s")
        self.assertTrue(rows[0].startswith("| b |"), rows)

    def test_compute_is_told_as_a_share_of_the_bare_engine(self):
        own = run("a", "oip-grpc", scenario="compute", model="minilm", variant="batch8", load="c=8", rps=20.0)
        text = report(figures(own, engine("minilm", 1, 8, 40.0)))
        self.assertTrue(self.rows_of(text, "compute, minilm, batch8: gRPC, c=8")[0].endswith("| 0.50 |"), text)

    def test_every_row_of_a_table_has_the_cells_of_its_head(self):
        own = run("a", "oip-grpc", scenario="compute", model="minilm", variant="batch8", load="c=8", late=True)
        cells = None
        for line in report(figures(own, run("b", "oip-json"), engine("minilm", 1, 8, 40.0))).splitlines():
            if not line.startswith("|"):
                cells = None
                continue
            cells = cells or line.count("|")
            self.assertEqual(line.count("|"), cells, line)

    def test_fewer_rounds_are_called_a_look(self):
        self.assertIn("a look, not a measurement", report(figures(run("a", "oip-json"))))
        three = [run("a", "oip-json", round=turn) for turn in range(3)]
        self.assertNotIn("a look", report(figures(*three)))

    def test_a_failure_is_told_without_the_folders_of_the_machine(self):
        error = "cannot start '/some/where/venv/bin/python' for http://127.0.0.1:1/v2/models"
        text = report(figures({"kind": "failed", "contender": "x", "model": "mlp", "error": error}))
        self.assertIn("cannot start 'python' for http://127.0.0.1:1/v2/models", text)

    def test_what_failed_is_told_once(self):
        failed = {"kind": "failed", "contender": "x", "model": "mlp", "variant": "default", "error": "no | such\nfile"}
        text = report(figures(failed, failed, {**failed, "model": "angle"}))
        self.assertEqual(text.count("no / such file"), 1)
        self.assertIn("x, start (mlp default, angle default)", text)


if __name__ == "__main__":
    unittest.main()
