package hub.delegation_test

import data.hub.admit
import data.hub.delegation

held := {"secrets": ["key"], "capabilities": ["read"], "message": ["b"], "topics": ["t"], "egress": ["forge", "npm:read"]}

same := object.union(held, {"image": "same", "untrusted": false})

path(child) := result if {
	result := delegation.path with input as {"principal": {"authority": held}, "resource": {"child": child}}
}

test_what_needs_nothing_else_is_internal if {
	path(same) == {"kind": "internal", "because": []}
	less := {"secrets": [], "capabilities": [], "message": [], "topics": [], "egress": []}
	path(object.union(same, less)) == {"kind": "internal", "because": []}
	path(object.union(same, {"egress": ["forge:read", "npm:read"]})) == {"kind": "internal", "because": []}
}

# The five triggers, each alone (S1-40).
triggers := [
	{"change": {"secrets": ["key", "other"]}, "because": "secrets"},
	{"change": {"capabilities": ["write"]}, "because": "capabilities"},
	{"change": {"image": "other"}, "because": "image"},
	{"change": {"untrusted": true}, "because": "untrusted"},
	{"change": {"message": ["c"]}, "because": "reach"},
	{"change": {"topics": ["u"]}, "because": "reach"},
	{"change": {"egress": ["anthropic"]}, "because": "reach"},
	{"change": {"egress": ["forge", "forge:write"]}, "because": "reach"},
	{"change": {"egress": ["npm"]}, "because": "reach"},
]

test_each_trigger_alone_makes_it_external if {
	every trigger in triggers {
		path(object.union(same, trigger.change)) == {"kind": "external", "because": [trigger.because]}
	}
}

test_what_is_not_known_is_external if {
	all := ["capabilities", "image", "reach", "secrets", "untrusted"]
	path({}) == {"kind": "external", "because": all}
	path(null) == {"kind": "external", "because": all}
	path(object.union(same, {"secrets": "key"})) == {"kind": "external", "because": ["secrets"]}
	path(object.union(same, {"egress": "forge"})) == {"kind": "external", "because": ["reach"]}
	path(object.union(object.remove(same, ["egress"]), {"egress": {"a": "forge"}})) == {"kind": "external", "because": ["reach"]}
	path(object.union(same, {"untrusted": "false"})) == {"kind": "external", "because": ["untrusted"]}
	result := delegation.path with input as {"resource": {"child": same}}
	result.kind == "external"
}

test_only_an_allowed_delegation_has_a_path if {
	agent := {"kind": "agent", "id": "s1", "session": "s1", "agent": "a", "authority": object.union(held, {"delegate": ["b"]})}
	resource := {
		"agent": "b", "needs": [], "depthLeft": 1, "tasksLeft": 1, "chain": ["a"],
		"wanted": {"capabilities": []}, "child": same,
	}
	question := {"operation": "task.delegate", "principal": agent, "resource": resource}
	rows := {"a": {"delegate": ["b"]}, "b": {"capabilities": []}}
	allowed := admit.decision with input as question with data.agents as rows
	allowed.path == {"kind": "internal", "because": []}
	refused := admit.decision with input as question with data.agents as {}
	refused.allow == false
	not refused.path
	other := admit.decision with input as {"operation": "mode.show", "principal": {"kind": "operator"}}
	not other.path
}
