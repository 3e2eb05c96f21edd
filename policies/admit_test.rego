package hub.admit_test

import data.hub.admit

agent := {"kind": "agent", "id": "s1", "session": "s1", "agent": "a", "authority": {}}

rule_of(input_document) := rule if {
	answer := admit.decision with input as input_document
	rule := answer.rule
}

test_every_answer_has_the_known_version_and_asks_nobody if {
	answer := admit.decision with input as {"operation": "mode.show", "principal": {"kind": "operator"}}
	answer == {"version": 1, "allow": true, "ask": false, "reason": "allowed", "rule": "hub.operator.operator"}
}

test_without_input_nothing_is_allowed if {
	admit.decision.allow == false with input as {}
	admit.decision.allow == false with input as null
	admit.decision.version == 1 with input as {}
}

test_a_package_without_an_answer_means_no if {
	answer := admit.decision with data.hub.operator.answer as "yes" with input as {"operation": "mode.show"}
	answer == {
		"version": 1, "allow": false, "ask": false, "code": "policy_denied",
		"reason": "the policy has no answer for this", "rule": "hub.admit.default",
	}
}

test_an_unknown_kind_is_refused_everywhere if {
	every operation in ["task.submit", "task.dispatch", "message.send", "mode.show", "session.provision", "no.such"] {
		answer := admit.decision with input as {
			"operation": operation,
			"principal": {"kind": "stranger", "id": "dispatcher", "session": "s1", "actions": [operation]},
			"resource": {"agent": null, "kind": "request", "relation": "parent"},
		}
		answer.allow == false
	}
}

test_the_verb_and_the_kind_choose_the_package if {
	rule_of({"operation": "session.provision", "principal": {"kind": "operator"}}) == "hub.sandbox.default"
	rule_of({"operation": "session.provision", "principal": agent}) == "hub.sandbox.default"
	rule_of({"operation": "message.reply", "principal": agent}) == "hub.messages.own"
	rule_of({"operation": "event.stream", "principal": {"kind": "operator"}}) == "hub.operator.operator"
	rule_of({"operation": "message.reply", "principal": {"kind": "operator"}}) == "hub.operator.default"
	rule_of({"operation": "task.log", "principal": agent}) == "hub.tasks.own"
	rule_of({"operation": "mode.show", "principal": agent}) == "hub.tasks.default"
	rule_of({"operation": "artifact.get", "principal": {"kind": "operator"}}) == "hub.operator.operator"
	rule_of({"operation": "task.submit", "principal": {"kind": "contact"}}) == "hub.tasks.submit"
	rule_of({"operation": "task.retry", "principal": {"kind": "contact"}}) == "hub.tasks.retry"
	rule_of({"operation": "task.release", "principal": {"kind": "contact"}}) == "hub.tasks.release"
	rule_of({"operation": "service.start", "principal": {"kind": "contact"}}) == "hub.tasks.start"
	rule_of({"operation": "task.dispatch", "principal": {"kind": "operator"}, "resource": {"agent": "a"}}) == "hub.tasks.dispatch"
	rule_of({"operation": "task.show", "principal": {"kind": "operator"}}) == "hub.operator.operator"
}
