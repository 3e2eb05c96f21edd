# METADATA
# title: Tools
# description: >-
#   Whether a session may use a tool that its program says it is about to use (`tool.permit`). What a program calls a tool is its own claim:
#   the container and the egress gateway are the boundary, and this is manners inside it. A person is asked about whatever is destructive or
#   reaches outside. Below that the card decides (hub/work/messages/permissions.ts).
package hub.tools

import data.hub.admit

default answer := {
	"allow": false,
	"code": "policy_denied",
	"reason": "no rule lets this principal ask about a tool",
	"rule": "hub.tools.default",
}

answer := permit if {
	input.principal.kind == "agent"
	is_string(input.principal.session)
	input.resource.permissions in {"allow", "ask", "bypass", "deny"}
}

permit := admit.no("hub.tools.deny", ["the card of agent ", input.principal.agent, " says permissions: deny"]) if {
	input.resource.permissions == "deny"
} else := admit.no("hub.tools.bypass", [
	"agent ", input.principal.agent, " may not bypass what a rule asks: add \"bypass\" to agents.", input.principal.agent,
	".relax in policy/data.json, or take `permissions: bypass` out of its card; it counts for sessions that begin later",
]) if {
	input.resource.permissions == "bypass"
	not bypasses
} else := admit.yes("hub.tools.permit") if {
	input.resource.tier in {"execute", "read", "write"}
} else := object.union(admit.yes("hub.tools.permit"), {
	"ask": true,
	"reason": concat("", ["a tool of tier ", input.resource.tier, " is always asked about"]),
}) if {
	input.resource.tier in {"destructive", "external"}
} else := admit.no("hub.tools.permit", ["it is unknown how much this tool can do"])

# Both: what the session was given at its start, and what the row says now.
bypasses if {
	"bypass" in input.principal.authority.relax
	"bypass" in data.agents[input.principal.agent].relax
}
