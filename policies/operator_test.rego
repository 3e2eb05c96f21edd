package hub.operator_test

import data.hub.operator

# Written out once more on purpose: a line lost from the rules, or added to them, fails here.
reading := [
	"agent.list", "agent.show", "alert.list", "approval.list", "approval.show", "artifact.get", "artifact.list", "budget.show", "event.stream", "health.show", "mode.show", "operator.show",
	"policy.status", "session.list", "session.logs", "session.show", "session.turns", "task.list",
	"task.logs", "task.show",
]

acting := [
	"alert.test", "artifact.put", "backup.run",
	"session.close", "session.interrupt", "session.quarantine", "session.say", "session.stop", "task.cancel",
]

owner_only := [
	"agent.reload", "agent.reset", "agent.suspend", "flag.set", "hub.drill", "hub.shutdown", "keys.rotate", "mode.safe", "policy.reload", "retention.prune", "run.create", "run.hold", "run.release", "session.revoke", "task.accept",
	"approval.answer", "budget.raise", "budget.settle", "console.open", "contact.card", "contact.confirm", "contact.revoke", "contact.test", "device.add",
	"device.revoke", "mode.resume", "operator.away", "operator.back", "operator.heartbeat", "token.create",
	"token.revoke", "upstream.test",
]

inspecting := ["audit.export", "audit.list", "audit.show", "audit.verify", "config.show", "decision.list", "device.list", "doctor.run", "egress.proposals", "flag.list", "keys.list", "policy.explain", "policy.show", "retention.show", "session.evidence", "token.list", "upstream.list", "upstream.price"]

others := [
	"artifact.delete", "budget.reset", "checkpoint.witness", "console.join", "lease.renew", "message.receive", "message.reply", "message.send",
	"message.subscribe", "monitor.alert", "secret.get", "session.capture", "session.frame", "session.join", "session.observe", "session.open", "session.provision",
	"session.reap", "session.renew", "session.turn", "task.ask", "task.delegate", "task.log", "task.progress", "task.release", "task.result", "task.retry",
	"task.settle", "tool.permit", "", "no.such",
]

every_operation := array.concat(array.concat(array.concat(reading, inspecting), acting), array.concat(owner_only, others))

allowed(principal, operation) := result if {
	answer := operator.answer with input as {"operation": operation, "principal": principal, "resource": {}}
	result := answer.allow
}

granted(principal) := {operation | some operation in every_operation; allowed(principal, operation)}

as_set(list) := {item | some item in list}

test_the_operator_has_every_verb_of_people_and_no_other if {
	granted({"kind": "operator"}) == as_set(every_operation) - as_set(others)
}

test_the_lists_are_complete if {
	operator.reading == as_set(reading)
	operator.acting == as_set(acting)
	operator.owner_only == as_set(owner_only)
	operator.inspecting == as_set(inspecting)
}

test_a_token_does_what_it_lists_and_nothing_of_presence_or_rights if {
	listing_all := {"kind": "automation", "actions": every_operation}
	granted(listing_all) == (as_set(reading) | as_set(acting)) - {"operator.show"}
	granted({"kind": "automation", "actions": ["task.list"]}) == {"task.list"}
	granted({"kind": "automation"}) == set()
}

test_only_a_token_that_ends_sessions_and_nothing_else_reports_for_a_monitor if {
	granted({"kind": "automation", "actions": ["session.stop"]}) == {"monitor.alert", "session.stop"}
	granted({"kind": "automation", "actions": ["session.stop", "task.list"]}) == {"session.stop", "task.list"}
	granted({"kind": "automation", "actions": ["monitor.alert"]}) == set()
	granted({"kind": "device", "rights": ["stop"], "actions": ["session.stop"]}) == {"hub.shutdown", "mode.safe", "session.close", "session.interrupt", "session.revoke", "session.stop", "task.cancel"}
}

test_a_device_has_the_rights_it_was_given if {
	granted({"kind": "device", "rights": ["view"]}) == as_set(reading) | {"console.join"}
	granted({"kind": "device", "rights": ["heartbeat"]}) == {"operator.heartbeat"}
	granted({"kind": "device", "rights": ["approve"]}) == {"approval.answer"}
	granted({"kind": "device", "rights": ["stop"]}) == {"hub.shutdown", "mode.safe", "session.close", "session.interrupt", "session.revoke", "session.stop", "task.cancel"}
	granted({"kind": "device", "rights": ["resume"]}) == {"mode.resume"}
	granted({"kind": "device", "rights": ["heartbeat", "resume"]}) == {"mode.resume", "operator.heartbeat"}
	granted({"kind": "device", "via": "console", "rights": ["heartbeat", "resume"]}) == {"mode.resume", "operator.away", "operator.back", "operator.heartbeat"}
	granted({"kind": "device", "rights": ["everything"]}) == set()
	granted({"kind": "device"}) == set()
}

test_the_contact_stops_and_nothing_else if {
	granted({"kind": "contact"}) == {"hub.shutdown"}
}

test_the_watchdog_has_its_four_verbs if {
	granted({"kind": "watchdog"}) == {"health.show", "lease.renew", "session.list", "session.reap"}
}

test_the_hub_records_and_reaps if {
	granted({"kind": "hub"}) == {"session.capture", "session.observe", "session.reap", "task.settle"}
}

test_other_kinds_have_nothing if {
	every kind in ["agent", "stranger", "", null] {
		granted({"kind": kind, "via": "console", "actions": every_operation, "rights": ["view", "heartbeat", "approve", "stop", "resume"], "session": "s1"}) == set()
	}
	granted({}) == set()
}

test_the_answer_names_its_rule if {
	yes := operator.answer with input as {"operation": "mode.show", "principal": {"kind": "operator"}}
	yes == {"allow": true, "reason": "allowed", "rule": "hub.operator.operator"}
	no := operator.answer with input as {"operation": "mode.show", "principal": {"kind": "contact"}}
	no == {
		"allow": false, "code": "policy_denied", "rule": "hub.operator.default",
		"reason": "this kind of principal may not use this operation",
	}
}
