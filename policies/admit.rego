# METADATA
# title: The one entry point of the hub's policy
# description: >-
#   The verb and the kind of principal choose the package that answers. Every package answers with a value for every
#   input, by positive conditions only: a missing fact makes a condition undefined, and what is undefined is
#   refused. This package allows nothing itself; `hub/guard/policy/engine.ts` refuses every answer of another form.
package hub.admit

default decision := {
	"version": 1,
	"allow": false,
	"ask": false,
	"code": "policy_denied",
	"reason": "the policy has no answer for this",
	"rule": "hub.admit.default",
}

# METADATA
# entrypoint: true
decision := object.union(object.union({"version": 1, "ask": false}, answer), path)

# Of an allowed delegation: whether the session could do it itself.
path := {"path": data.hub.delegation.path} if {
	input.operation == "task.delegate"
	answer.allow == true
} else := {}

answer := data.hub.sandbox.answer if {
	input.operation == "session.provision"
} else := data.hub.messages.answer if {
	input.principal.kind == "agent"
	startswith(input.operation, "message.")
} else := data.hub.egress.answer if {
	input.operation == "egress.request"
} else := data.hub.tools.answer if {
	input.operation == "tool.permit"
} else := data.hub.tasks.answer if {
	input.principal.kind == "agent"
} else := data.hub.tasks.answer if {
	input.operation in {"run.step", "service.start", "task.dispatch", "task.release", "task.retry", "task.submit"}
} else := data.hub.operator.answer

# The shapes of an answer. A refusal's reason names the line to change, where a line would change it; its code is one of RULE_CODES
# in hub/base/errors.ts.
yes(rule) := {"allow": true, "reason": "allowed", "rule": rule}

no(rule, words) := no_as("policy_denied", rule, words)

no_as(code, rule, words) := {"allow": false, "code": code, "reason": concat("", words), "rule": rule}
