import unittest

import metrics

POD = {"metadata": {"name": "busy-1", "namespace": "check", "labels": {"app": "busy"}}, "spec": {"containers": [{"name": "busy"}]}}


class Recorded:
    """A node whose one container has used so much CPU at such a time."""

    def __init__(self):
        self.seconds, self.at_ms = 0.0, 0

    def get(self, path):
        return {"items": [{"metadata": {"name": "node-1"}}] if path.endswith("nodes") else [POD]}

    def text(self, _):
        labels = '{container="busy",namespace="check",pod="busy-1"}'
        return (
            f"container_cpu_usage_seconds_total{labels} {self.seconds} {self.at_ms}\n"
            f"container_memory_working_set_bytes{labels} 1.048576e+06 {self.at_ms}\n"
        )


class UsageTest(unittest.TestCase):
    def setUp(self):
        self.node = Recorded()
        self.usage = metrics.Usage(self.node)

    def read(self, seconds, at_ms):
        self.node.seconds, self.node.at_ms = seconds, at_ms
        self.usage._read()
        return self.usage.pods("check", "")

    def test_one_sample_is_no_rate(self):
        self.assertEqual(self.read(5.0, 1000), [])

    def test_a_rate_is_over_the_whole_time_between_two_samples(self):
        self.read(5.0, 1000)
        self.assertEqual(self.read(5.0, 1000), [])
        (pod,) = self.read(7.0, 11000)
        self.assertEqual(pod["containers"], [{"name": "busy", "usage": {"cpu": "200000000n", "memory": "1024Ki"}}])
        self.assertEqual((pod["window"], pod["timestamp"]), ("10.000s", "1970-01-01T00:00:11Z"))

    def test_a_container_that_began_anew_has_used_nothing_rather_than_less(self):
        self.read(5.0, 1000)
        (pod,) = self.read(1.0, 11000)
        self.assertEqual(pod["containers"][0]["usage"]["cpu"], "0n")

    def test_a_pod_is_found_by_name_and_others_are_not(self):
        self.read(5.0, 1000)
        self.read(7.0, 11000)
        path = "/apis/metrics.k8s.io/v1beta1/namespaces/check/pods"
        self.assertEqual(metrics.answer(self.usage, f"{path}/busy-1", {})[0], 200)
        self.assertEqual(metrics.answer(self.usage, f"{path}/other", {})[0], 404)
        self.assertEqual(len(metrics.answer(self.usage, path, {})[1]["items"]), 1)
