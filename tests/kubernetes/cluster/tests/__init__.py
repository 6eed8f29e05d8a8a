"""Tests of what can be tested without a cluster: `cd tests/kubernetes/cluster && python3 -B -m unittest discover`."""
