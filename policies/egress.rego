# METADATA
# title: Egress
# description: >-
#   What an agent may reach outside. A request is allowed if a grant of the session's authority (its card, narrowed along the chain and at its
#   start) and a grant in the agent's row both cover it. A grant is `upstream` (all but write), `upstream:class` or `host:port`.
package hub.egress

import data.hub.admit

default answer := {
	"allow": false,
	"code": "policy_denied",
	"reason": "no rule lets this principal reach anything outside",
	"rule": "hub.egress.default",
}

answer := request if {
	input.principal.kind == "agent"
	is_string(input.principal.session)
	input.operation == "egress.request"
}

request := admit.yes(rule) if {
	own
	covered(input.principal.authority.egress)
	covered(data.agents[input.principal.agent].egress)
} else := admit.no(rule, ["a session asks for itself alone"]) if {
	not own
} else := admit.no(rule, ["agent ", from, " may not reach ", what, ": add \"", line, "\" to agents.", from, ".egress in policy/data.json", of_card]) if {
	from := input.principal.agent
	not covered(data.agents[from].egress)
} else := admit.no(rule, [
	"this session's authority does not include reaching ", what, ": add \"", line, "\" to may.egress of the card of agent ",
	input.principal.agent, " and of those above it in the chain; it counts for sessions that begin later",
]) if {
	is_string(what)
} else := admit.no(rule, ["it is unknown what is to be reached"])

rule := "hub.egress.request"

# Both that are missing are named at once.
default of_card := ""

of_card := concat("", [
	", and to may.egress of the card of agent ", input.principal.agent,
	" and of those above it in the chain; the card counts for sessions that begin later",
]) if {
	not covered(input.principal.authority.egress)
}

own if input.resource.agent == input.principal.agent

covered(grants) if {
	some grant in grants
	covers(grant, input.resource.upstream, input.resource.class)
}

# All that an upstream is good for but writing to it, which needs its own word.
covers(grant, upstream, class) if {
	class in {"metered", "free", "read"}
	grant == upstream
	not contains(upstream, ":")
}

covers(grant, upstream, class) if {
	class in {"metered", "free", "read", "write"}
	grant == concat(":", [upstream, class])
}

# A line to a host and port.
covers(grant, upstream, "connect") if {
	grant == upstream
	contains(upstream, ".")
	contains(upstream, ":")
}

# What was asked for in words, and the grant that would cover it.
what := concat("", [input.resource.upstream, " (", input.resource.class, ")"])

line := input.resource.upstream if input.resource.class != "write"

line := concat(":", [input.resource.upstream, "write"]) if input.resource.class == "write"

# --- Grants beside grants

# What both lists permit, as a list of grants: never more than either.
narrow(wish, ceiling) := sort({grant |
	some one in wish
	some other in ceiling
	grant := both(one, other)
})

both(one, other) := one if one == other

both(one, other) := other if part_of(other, one)

both(one, other) := one if part_of(one, other)

# `forge:read` is a part of `forge`; a host with its port is a part of nothing.
part_of(grant, whole) if {
	some class in {"metered", "free", "read"}
	grant == concat(":", [whole, class])
	not contains(whole, ":")
}

# Whether one of the list permits all that this grant does.
held(grant, list) if grant in list

held(grant, list) if {
	some each in list
	part_of(grant, each)
}
