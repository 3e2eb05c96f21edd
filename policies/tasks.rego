# METADATA
# title: Tasks
# description: >-
#   Submitting, dispatching, delegating, and what a session may do about its own task. `data.agents` says to whom.
package hub.tasks

import data.hub.admit

default answer := {"allow": false, "reason": "no rule lets this principal do this", "rule": "hub.tasks.default"}

answer := submit if input.operation == "task.submit"

answer := dispatch if input.operation == "task.dispatch"

answer := service if input.operation == "service.start"

answer := delegate if input.operation == "task.delegate"

answer := artifact if input.operation in {"artifact.get", "artifact.list"}

answer := secret if input.operation == "secret.get"

answer := own if input.operation in own_verbs

# --- task.submit

submit := admit.yes("hub.tasks.submit") if {
	submitter
	submittable
} else := admit.no("hub.tasks.submit", ["this principal may not submit tasks"]) if {
	not submitter
} else := admit.no("hub.tasks.submit", ["agent ", name, " is not in the policy: add agents.", name, " to policy/data.json"]) if {
	name := input.resource.agent
	not data.agents[name]
} else := admit.no("hub.tasks.submit", ["agent ", name, " takes no submitted tasks: set agents.", name, ".submit to true in policy/data.json"]) if {
	name := input.resource.agent
}

submitter if input.principal.kind == "operator"

submitter if {
	input.principal.kind == "automation"
	"task.submit" in input.principal.actions
}

submittable if input.resource.agent == null

submittable if data.agents[input.resource.agent].submit == true

# --- task.dispatch: who may run, and with how much of what was wanted (S1-6)

dispatch := object.union(admit.yes("hub.tasks.dispatch"), {"narrow": {
	"capabilities": dispatch_capabilities,
	"ttlMs": dispatch_ttl,
}}) if {
	input.principal.kind == "hub"
	input.principal.id == "dispatcher"
	data.agents[input.resource.agent].suspended == false
	dispatch_ttl > 0
} else := admit.no("hub.tasks.dispatch", ["agent ", name, " is not in the policy: add agents.", name, " to policy/data.json"]) if {
	name := input.resource.agent
	not data.agents[name]
} else := admit.no("hub.tasks.dispatch", ["agent ", name, " is suspended: set agents.", name, ".suspended to false in policy/data.json"]) if {
	name := input.resource.agent
	data.agents[name].suspended == true
} else := admit.no("hub.tasks.dispatch", ["only the hub's dispatcher may dispatch, with a time to live"])

dispatch_capabilities := sort({capability |
	some capability in input.resource.wanted.capabilities
	capability in data.agents[input.resource.agent].capabilities
	within_ceiling(capability)
})

within_ceiling(_) if input.resource.ceiling.capabilities == null

within_ceiling(capability) if capability in input.resource.ceiling.capabilities

dispatch_ttl := min([
	to_span(input.resource.wanted.ttlMs),
	to_span(data.agents[input.resource.agent].ttlMs),
	to_span(input.resource.ceiling.ttlMs),
])

# Text compares as greater than any number, so a span must be a number before it is compared.
to_span(value) := value if is_number(value)

# --- service.start: a session that always runs is a right of its own (S0-1)

service := admit.yes("hub.tasks.service") if {
	input.principal.kind == "hub"
	input.principal.id == "services"
	data.agents[input.resource.agent].service == true
} else := admit.no("hub.tasks.service", ["agent ", name, " may not run as a service: set agents.", name, ".service to true in policy/data.json"]) if {
	name := input.resource.agent
} else := admit.no("hub.tasks.service", ["a service is started by its name"])

# --- task.delegate: authority and policy, never one of them alone (T40-T45)

delegate := admit.yes("hub.tasks.delegate") if {
	delegation_is_sound
	input.resource.agent in may_delegate
	not input.resource.agent in input.resource.chain
} else := object.union(admit.yes("hub.tasks.delegate"), {"narrow": {"agents": sort(able)}}) if {
	delegation_is_sound
	input.resource.agent == null
	count(able) > 0
} else := admit.no("hub.tasks.delegate", ["delegation_depth: this chain may go no deeper"]) if {
	not depth_left
} else := admit.no("hub.tasks.delegate", ["limit_exceeded: the tree this task belongs to may create no more tasks"]) if {
	not tasks_left
} else := admit.no("hub.tasks.delegate", ["delegation_cycle: agent ", input.resource.agent, " already stands in this chain"]) if {
	input.resource.agent in input.resource.chain
} else := admit.no("hub.tasks.delegate", ["delegation_wider: ", concat(", ", sort(wider)), " is more than the delegating session holds"]) if {
	count(wider) > 0
} else := admit.no("hub.tasks.delegate", [
	"not_allowed: agent ", from, " may not delegate to ", to, ": add \"", to, "\" to agents.", from,
	".delegate in policy/data.json",
]) if {
	from := input.principal.agent
	to := input.resource.agent
	not to in data.agents[from].delegate
} else := admit.no("hub.tasks.delegate", [
	"not_allowed: this session's authority does not include delegating to ", to,
	": add it to may.delegate of the card of agent ", input.principal.agent, " and of those above it in the chain",
]) if {
	to := input.resource.agent
} else := admit.no("hub.tasks.delegate", ["not_allowed: no agent this session may delegate to has what is needed"])

delegation_is_sound if {
	input.principal.kind == "agent"
	depth_left
	tasks_left
	count(wider) == 0
	is_array(input.resource.chain)
	is_object(input.resource.wanted)
}

depth_left if to_span(input.resource.depthLeft) > 0

tasks_left if to_span(input.resource.tasksLeft) > 0

may_delegate contains agent if {
	some agent in input.principal.authority.delegate
	agent in data.agents[input.principal.agent].delegate
}

# Whom the hub may choose when only capabilities are named.
able contains agent if {
	some agent in may_delegate
	not agent in input.resource.chain
	count(input.resource.needs) > 0
	every need in input.resource.needs {
		need in data.agents[agent].capabilities
	}
}

# What is wanted for the child and not held by its parent, list by list.
wider contains item if {
	some list, items in input.resource.wanted
	some item in items
	not item in input.principal.authority[list]
}

# --- A session's own verbs: always, about its own task

own_verbs := {
	"artifact.put",
	"session.join",
	"session.open",
	"session.renew",
	"task.ask",
	"task.log",
	"task.progress",
	"task.result",
}

own := admit.yes("hub.tasks.own") if in_session

in_session if {
	input.principal.kind == "agent"
	is_string(input.principal.session)
}

artifact := admit.yes("hub.tasks.artifact") if {
	in_session
	input.resource.own == true
} else := admit.yes("hub.tasks.artifact") if {
	in_session
	input.resource.inherited == true
} else := admit.no("hub.tasks.artifact", ["this artifact belongs neither to this task nor to the one it was delegated from"])

secret := admit.yes("hub.tasks.secret") if {
	in_session
	input.resource.name in input.principal.authority.secrets
	input.resource.name in data.agents[input.principal.agent].secrets
} else := admit.no("hub.tasks.secret", [
	"agent ", input.principal.agent, " may not have secret ", input.resource.name, ": add \"", input.resource.name,
	"\" to agents.", input.principal.agent, ".secrets in policy/data.json and to may.secrets of its card",
])
