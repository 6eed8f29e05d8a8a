"""Each task's result as a line of JSON, in the form in which OpenTofu tells what it does: the provisioner and its users read one language.

`ANSIBLE_STDOUT_CALLBACK=slipway_events ansible-playbook …`. With `--check` each change is planned (`planned_change`), else it is made
(`apply_start`, `apply_complete`, `apply_errored`). A host that is set aside is named, with the task and the reason (`diagnostic`).
"""

import json
import sys
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: slipway_events
type: stdout
short_description: each task's result as a line of JSON
description: In the form of OpenTofu's machine-readable output.
"""

# What a task says may be a whole log; its beginning tells why.
LONGEST = 2000


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "slipway_events"

    def __init__(self):
        super().__init__()
        self._began, self._changed, self._is_check = {}, 0, False

    def _say(self, kind, **told):
        sys.stdout.write(json.dumps({"type": kind, "@timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **told}) + "\n")
        sys.stdout.flush()

    def _resource(self, result):
        task, host = result._task, result._host.get_name()
        role = f"{task._role.get_name()}: " if task._role else ""
        return {"addr": f"{host}: {role}{task.get_name().split(' : ')[-1]}", "resource_type": task.action, "resource_key": host}

    def v2_playbook_on_play_start(self, play):
        self._is_check = bool(play.check_mode)

    def v2_runner_on_start(self, host, task):
        self._began[host.get_name(), task._uuid] = time.monotonic()

    def _seconds(self, result):
        return round(time.monotonic() - self._began.pop((result._host.get_name(), result._task._uuid), time.monotonic()))

    def v2_runner_on_ok(self, result):
        seconds = self._seconds(result)
        if not result.is_changed():
            return
        self._changed += 1
        resource = self._resource(result)
        if self._is_check:
            self._say("planned_change", change={"resource": resource, "action": "update"})
        else:
            self._say("apply_complete", hook={"resource": resource, "action": "update", "elapsed_seconds": seconds})

    def v2_runner_on_failed(self, result, ignore_errors=False):
        seconds = self._seconds(result)
        if not ignore_errors:
            self._set_aside(result, seconds)
        elif self._is_check:
            # It rests on what an earlier task would have done.
            self._say("planned_change", change={"resource": self._resource(result), "action": "update", "reason": "cannot be told yet"})

    def v2_runner_on_unreachable(self, result):
        self._set_aside(result, self._seconds(result))

    def _set_aside(self, result, seconds):
        resource, told = self._resource(result), result._result
        if not self._is_check:
            self._say("apply_errored", hook={"resource": resource, "action": "update", "elapsed_seconds": seconds})
        # Of a loop each round tells, of which that one counts that failed.
        told = next((round_ for round_ in told.get("results", ()) if round_.get("failed")), told)
        why = "not told, since it may hold secrets" if told.get("censored") else str(told.get("stderr") or told.get("msg") or told)
        summary = f"{resource['resource_key']} is set aside at `{result._task.get_name()}`"
        self._say("diagnostic", diagnostic={"severity": "error", "summary": summary, "detail": why[:LONGEST], "address": resource["addr"]})

    def v2_playbook_on_stats(self, stats):
        operation = "plan" if self._is_check else "apply"
        self._say("change_summary", changes={"add": 0, "change": self._changed, "remove": 0, "operation": operation})
        hosts = {}
        for host in sorted(stats.processed):
            told = stats.summarize(host)
            state = "set-aside" if told["failures"] or told["unreachable"] else "changed" if told["changed"] else "as-it-should-be"
            hosts[host] = {"value": {"state": state, "changed": told["changed"]}}
        self._say("outputs", outputs=hosts)
