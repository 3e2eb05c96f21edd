# METADATA
# title: Tasks
# description: >-
#   Submitting, dispatching, delegating, and what a session may do about its own task. `data.agents` says to whom.
package hub.tasks

import data.hub.admit
import data.hub.egress

default answer := {
	"allow": false,
	"code": "policy_denied",
	"reason": "no rule lets this principal do this",
	"rule": "hub.tasks.default",
}

answer := asked if input.operation in {"task.release", "task.retry", "task.submit"}

answer := dispatch if input.operation == "task.dispatch"

answer := service if input.operation == "service.start"

answer := step if input.operation == "run.step"

answer := delegate if input.operation == "task.delegate"

answer := artifact if input.operation in {"artifact.get", "artifact.list"}

answer := secret if input.operation == "secret.get"

answer := transcript if input.operation in {"transcript.get", "transcript.put"}

answer := own if input.operation in own_verbs

# --- Which agent's session may begin, and for whom: asked wherever one begins, however the task came (faults F3, F4)

# `resource.origin` says who asked for the task (`by`: people, agent or services) and which agent delegated it (`parent`, or null).
permits(name) if {
	asked_for(data.agents[name])
	handed_on(name)
	takes(name)
}

# Work with a class of data goes only to agents whose row takes that class (S1-73). Work without one is nobody's secret.
takes(_) if object.get(input.resource, "sensitivity", null) == null

takes(name) if rank[input.resource.sensitivity] <= rank[data.agents[name].sensitivity]

rank := {"public": 0, "internal": 1, "confidential": 2, "restricted": 3}

asked_for(row) if {
	input.resource.origin.by == "people"
	row.submit == true
}

asked_for(row) if {
	input.resource.origin.by == "services"
	row.service == true
}

# An agent that another agent asks must be on that agent's list.
asked_for(_) if {
	input.resource.origin.by == "agent"
	is_string(input.resource.origin.parent)
}

handed_on(_) if input.resource.origin.parent == null

handed_on(name) if name in data.agents[input.resource.origin.parent].delegate

# Shipped for drills and proofs: started only by its name.
canaries := {"drill"}

# Which agents the hub may choose if only capabilities are named.
capable contains name if {
	some name, row in data.agents
	not name in canaries
	row.suspended == false
	permits(name)
	count(input.resource.needs) > 0
	every need in input.resource.needs {
		need in row.capabilities
	}
}

chosen := object.union(admit.yes(rule), {"narrow": {"agents": sort(capable)}}) if {
	input.resource.agent == null
	count(capable) > 0
}

rule := concat(".", ["hub.tasks", split(input.operation, ".")[1]])

# The line to change, for an agent that `permits` refuses.
refusal := admit.no(rule, ["agent ", name, " is not in the policy: add agents.", name, " to policy/data.json"]) if {
	name := input.resource.agent
	not data.agents[name]
} else := admit.no(rule, ["agent ", name, " takes no submitted tasks: set agents.", name, ".submit to true in policy/data.json"]) if {
	name := input.resource.agent
	input.resource.origin.by == "people"
	not asked_for(data.agents[name])
} else := admit.no(rule, ["agent ", name, " may not run as a service: set agents.", name, ".service to true in policy/data.json"]) if {
	name := input.resource.agent
	input.resource.origin.by == "services"
	not asked_for(data.agents[name])
} else := admit.no(rule, ["agent ", from, " may not delegate to ", name, ": add \"", name, "\" to agents.", from, ".delegate in policy/data.json"]) if {
	name := input.resource.agent
	from := input.resource.origin.parent
	not handed_on(name)
} else := admit.no(rule, [
	"agent ", name, " takes no ", input.resource.sensitivity, " tasks: set agents.", name, ".sensitivity to \"",
	input.resource.sensitivity, "\" in policy/data.json",
]) if {
	name := input.resource.agent
	is_string(name)
	not takes(name)
} else := admit.no_as("no_capable_agent", rule, [
	"no agent that may take a ", input.resource.sensitivity, " task has ", concat(", ", input.resource.needs),
	": see agents.*.capabilities, agents.*.submit and agents.*.sensitivity in policy/data.json",
]) if {
	input.resource.agent == null
} else := admit.no_as("no_capable_agent", rule, [
	"no agent that may take this task has ", concat(", ", input.resource.needs),
	": see agents.*.capabilities and agents.*.submit in policy/data.json",
]) if {
	input.resource.agent == null
}

# --- task.submit, retry and release: decided alike, so that none gives more than submitting does

asked := admit.yes(rule) if {
	asker
	inputs_readable
	permits(input.resource.agent)
} else := chosen if {
	asker
	inputs_readable
} else := admit.no(rule, ["this principal may not submit tasks"]) if {
	not asker
} else := admit.no(rule, ["you may not read these inputs: upload them yourself, or use a token with artifact.get"]) if {
	not inputs_readable
} else := refusal

asker if input.principal.kind == "operator"

# A retry is a submission: a token needs both actions.
asker if {
	input.principal.kind == "automation"
	input.operation in {"task.retry", "task.submit"}
	every action in {"task.submit", input.operation} {
		action in input.principal.actions
	}
}

# A console that may end safe mode may release held tasks, one by one. It may not submit new ones.
asker if {
	input.principal.kind == "device"
	input.principal.via == "console"
	input.operation == "task.release"
	"resume" in input.principal.rights
}

# Whether the task has inputs, and whose bytes they are: this very principal uploaded `own`.
inputs_readable if input.resource.inputs in {"none", "own"}

inputs_readable if input.principal.kind == "operator"

inputs_readable if {
	input.principal.kind == "automation"
	"artifact.get" in input.principal.actions
}

# --- task.dispatch: who may run, and with how much of what was asked for (S1-6)

dispatch := object.union(admit.yes(rule), {"narrow": object.union_n([
	{"capabilities": dispatch_capabilities, "ttlMs": dispatch_ttl},
	dispatch_egress,
	dispatch_relax,
])}) if {
	dispatcher
	data.agents[input.resource.agent].suspended == false
	permits(input.resource.agent)
	dispatch_ttl > 0
	relax_held
	transcripts_held
} else := chosen if {
	dispatcher
} else := admit.no(rule, ["only the hub's dispatcher may dispatch"]) if {
	not dispatcher
} else := admit.no(rule, ["agent ", name, " is suspended: set agents.", name, ".suspended to false in policy/data.json"]) if {
	name := input.resource.agent
	data.agents[name].suspended == true
} else := admit.no(rule, [
	"agent ", name, " asks for relax ", concat(", ", sort(ungranted)), ", which is not granted: add it to agents.", name,
	".relax in policy/data.json, or take it out of the card",
]) if {
	name := input.resource.agent
	permits(name)
	count(ungranted) > 0
} else := admit.no(rule, [
	"agent ", name, " asks for relax ", concat(", ", sort(above_ceiling)),
	", which the session that delegated to it does not hold: add it to relax of the cards above it in the chain, or take it out of its own",
]) if {
	name := input.resource.agent
	permits(name)
	count(above_ceiling) > 0
} else := admit.no(rule, [
	"agent ", name, " asks for transcripts, which are not granted: set agents.", name,
	".transcripts to true in policy/data.json, or take it out of the card",
]) if {
	name := input.resource.agent
	permits(name)
	not transcripts_held
} else := refusal

dispatcher if {
	input.principal.kind == "hub"
	input.principal.id == "dispatcher"
}

dispatch_capabilities := sort({capability |
	some capability in input.resource.wanted.capabilities
	capability in data.agents[input.resource.agent].capabilities
	within_ceiling(capability)
})

# Only where it asks for some. What it gets is fixed here: it decides which system calls its container may make.
default dispatch_egress := {}

dispatch_egress := {"egress": egress.narrow(input.resource.wanted.egress, granted)} if {
	is_array(input.resource.wanted.egress)
	granted := object.get(data.agents[input.resource.agent], "egress", [])
}

# Walls of the container that are moved: all that its card names, or no session of it begins. A program that was built for one fails without
# it, and nobody could tell why.
default dispatch_relax := {}

dispatch_relax := {"relax": input.resource.wanted.relax} if is_array(input.resource.wanted.relax)

relax_held if not input.resource.wanted.relax

relax_held if {
	is_array(input.resource.wanted.relax)
	count(ungranted) == 0
	count(above_ceiling) == 0
}

# As sets: where a list is not there it is empty, while `not x in list` would hold for none.
wanted_relax := {each | some each in input.resource.wanted.relax}

ungranted := wanted_relax - {each | some each in data.agents[input.resource.agent].relax}

# A chain narrows: what the session above does not hold cannot be had by asking another agent for it.
default above_ceiling := set()

above_ceiling := wanted_relax - {each | some each in input.resource.ceiling.relax} if {
	not input.resource.origin.parent == null
}

# The conversation of a task is kept unmasked only where card and row both say so.
transcripts_held if not input.resource.wanted.transcripts

transcripts_held if data.agents[input.resource.agent].transcripts == true

within_ceiling(_) if input.resource.ceiling.capabilities == null

within_ceiling(capability) if capability in input.resource.ceiling.capabilities

dispatch_ttl := min([
	to_span(input.resource.wanted.ttlMs),
	to_span(data.agents[input.resource.agent].ttlMs),
	to_span(input.resource.ceiling.ttlMs),
])

# Text compares as greater than any number, so a span must be a number before it is compared.
to_span(value) := value if is_number(value)

# --- run.step: asked for every start of a step. A run gives no more than whoever asked for it could have asked for directly.

step := admit.yes(rule) if {
	runner
	permits(input.resource.agent)
} else := chosen if {
	runner
} else := admit.no(rule, ["only the hub's runner starts steps"]) if {
	not runner
} else := refusal

runner if {
	input.principal.kind == "hub"
	input.principal.id == "runner"
}

# --- service.start: a session that always runs is a right of its own (S0-1)

service := admit.yes(rule) if {
	input.principal.kind == "hub"
	input.principal.id == "services"
	input.resource.origin.by == "services"
	permits(input.resource.agent)
} else := admit.no(rule, ["only the hub starts a service"]) if {
	not input.principal.id == "services"
} else := refusal

# --- task.delegate: authority and policy, never one of them alone (T40-T45)

delegate := admit.yes("hub.tasks.delegate") if {
	delegation_is_sound
	input.resource.agent in may_delegate
	not input.resource.agent in input.resource.chain
	takes(input.resource.agent)
	count(relaxed_wider) == 0
} else := object.union(admit.yes("hub.tasks.delegate"), {"narrow": {"agents": sort(able)}}) if {
	delegation_is_sound
	input.resource.agent == null
	count(able) > 0
} else := admit.no_as("delegation_depth", "hub.tasks.delegate", ["this chain may go no deeper"]) if {
	not depth_left
} else := admit.no_as("limit_exceeded", "hub.tasks.delegate", ["the tree this task belongs to may create no more tasks"]) if {
	not tasks_left
} else := admit.no_as("delegation_cycle", "hub.tasks.delegate", ["agent ", input.resource.agent, " is already in this chain"]) if {
	input.resource.agent in input.resource.chain
} else := admit.no_as("delegation_wider", "hub.tasks.delegate", [concat(", ", sort(wider)), " is more than the delegating session holds"]) if {
	count(wider) > 0
} else := admit.no_as("delegation_wider", "hub.tasks.delegate", [
	"agent ", input.resource.agent, " asks for relax ", concat(", ", sort(relaxed_wider)),
	", which the delegating session does not hold: add it to relax of the cards above it in the chain, or take it out of its own",
]) if {
	input.resource.agent in may_delegate
	takes(input.resource.agent)
	count(relaxed_wider) > 0
} else := admit.no("hub.tasks.delegate", [
	"agent ", from, " may not delegate to ", to, ": add \"", to, "\" to agents.", from,
	".delegate in policy/data.json",
]) if {
	from := input.principal.agent
	to := input.resource.agent
	not to in data.agents[from].delegate
} else := admit.no("hub.tasks.delegate", [
	"this session's authority does not include delegating to ", to,
	": add it to may.delegate of the card of agent ", input.principal.agent, " and of those above it in the chain",
]) if {
	to := input.resource.agent
	not to in may_delegate
} else := admit.no("hub.tasks.delegate", [
	"agent ", to, " takes no ", input.resource.sensitivity, " tasks: set agents.", to, ".sensitivity to \"",
	input.resource.sensitivity, "\" in policy/data.json",
]) if {
	to := input.resource.agent
	not takes(to)
} else := admit.no("hub.tasks.delegate", ["no agent this session may delegate to has what is needed"])

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

# Which agents the hub may choose if only capabilities are named.
able contains agent if {
	some agent in may_delegate
	not agent in canaries
	not agent in input.resource.chain
	takes(agent)
	count(input.resource.needs) > 0
	every need in input.resource.needs {
		need in data.agents[agent].capabilities
	}
}

# What the child would have and its parent does not, list by list.
wider contains item if {
	some list, items in input.resource.wanted
	list != "egress"
	some item in items
	not item in input.principal.authority[list]
}

wider contains grant if {
	some grant in input.resource.wanted.egress
	not egress.held(grant, input.principal.authority.egress)
}

# Walls that the child's card asks to have moved and this session's stand. Its own start asks again (`above_ceiling`).
relaxed_wider := {each | some each in input.resource.child.relax} - {each | some each in input.principal.authority.relax}

# --- A session's own verbs: always, about its own task

own_verbs := {
	"artifact.put",
	"session.frame",
	"session.join",
	"session.open",
	"session.renew",
	"session.turn",
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

# Of its own task alone: the operation has no word for another one. The row is asked again each time.
transcript := admit.yes("hub.tasks.transcript") if {
	in_session
	input.resource.transcripts == true
	data.agents[input.principal.agent].transcripts == true
} else := admit.no("hub.tasks.transcript", [
	"agent ", input.principal.agent, " keeps no conversation: set agents.", input.principal.agent,
	".transcripts to true in policy/data.json and `transcripts: true` in its card",
])
