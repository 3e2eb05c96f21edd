# METADATA
# title: People, their devices and tokens, the watchdog and the hub itself
# description: >-
#   A list for each kind of principal; what is on no list is refused. A new operation for people is a line here.
package hub.operator

import data.hub.admit

default answer := {
	"allow": false,
	"code": "policy_denied",
	"reason": "this kind of principal may not use this operation",
	"rule": "hub.operator.default",
}

answer := admit.yes(concat(".", ["hub.operator", input.principal.kind])) if allowed

allowed if {
	input.principal.kind == "operator"
	input.operation in (((reading | inspecting) | acting) | owner_only)
}

allowed if {
	input.principal.kind == "device"
	some right in input.principal.rights
	input.operation in by_right[right]
}

# An absence moves the deadlines like a strong heartbeat, so it needs the same: the console on this machine, not a device that is carried about.
allowed if {
	input.principal.kind == "device"
	input.principal.via == "console"
	every right in {"heartbeat", "resume"} {
		right in input.principal.rights
	}
	input.operation in {"operator.away", "operator.back"}
}

# A bearer token may do what it lists. It can never see the operator's presence or deadlines, widen anybody's rights or govern the hub.
allowed if {
	input.principal.kind == "automation"
	input.operation in input.principal.actions
	input.operation in ((reading | acting) - {"operator.show"})
}

# A runtime monitor's token lists ending sessions and nothing else. With any further action a token reports nothing.
allowed if {
	input.principal.kind == "automation"
	input.operation == "monitor.alert"
	input.principal.actions == ["session.stop"]
}

allowed if {
	input.principal.kind == "contact"
	input.operation == "hub.shutdown"
}

allowed if {
	input.principal.kind == "watchdog"
	input.operation in {"health.show", "lease.renew", "session.list", "session.reap"}
}

# The hub's own loops record what the engine or a clock has already done, and remove what is left.
allowed if {
	input.principal.kind == "hub"
	input.operation in {"session.capture", "session.observe", "session.reap", "task.settle"}
}

by_right := {
	"approve": {"approval.answer"},
	"heartbeat": {"operator.heartbeat"},
	"resume": {"mode.resume"},
	"stop": {"hub.shutdown", "mode.safe", "session.close", "session.interrupt", "session.revoke", "session.stop", "task.cancel"},
	# A console joins by a link from the operator, which always gives this right.
	"view": reading | {"console.join"},
}

# Presence, rights, and governing the hub.
owner_only := {
	"agent.reload",
	"agent.reset",
	"agent.suspend",
	"approval.answer",
	"budget.raise",
	"budget.settle",
	"console.open",
	"contact.card",
	"contact.confirm",
	"contact.revoke",
	"contact.test",
	"device.add",
	"device.revoke",
	"flag.set",
	"hub.drill",
	"hub.shutdown",
	"keys.rotate",
	"mode.resume",
	"mode.safe",
	"operator.away",
	"operator.back",
	"operator.heartbeat",
	"policy.reload",
	"retention.prune",
	"run.create",
	"run.hold",
	"run.release",
	"session.revoke",
	"task.accept",
	"token.create",
	"token.revoke",
	"upstream.test",
}

reading := {
	"agent.list",
	"agent.show",
	"alert.list",
	"approval.list",
	"approval.show",
	"artifact.get",
	"artifact.list",
	"budget.show",
	"event.stream",
	"health.show",
	"mode.show",
	"operator.show",
	"policy.status",
	"session.list",
	"session.logs",
	"session.show",
	"session.turns",
	"task.list",
	"task.logs",
	"task.show",
}

acting := {
	"alert.test",
	"artifact.put",
	"backup.run",
	"session.close",
	"session.interrupt",
	"session.quarantine",
	"session.say",
	"session.stop",
	"task.cancel",
}

# Reading that shows how the hub is guarded.
inspecting := {
	"audit.export",
	"audit.list",
	"audit.show",
	"audit.verify",
	"config.show",
	"decision.list",
	"device.list",
	"doctor.run",
	"egress.proposals",
	"flag.list",
	"keys.list",
	"policy.explain",
	"policy.show",
	"retention.show",
	"session.evidence",
	"token.list",
	"upstream.list",
	"upstream.price",
}
