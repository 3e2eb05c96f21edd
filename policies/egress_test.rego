package hub.egress_test

import data.hub.admit
import data.hub.egress

rows := {
	"a": {"egress": ["anthropic", "forge", "forge:write", "npm:read", "api.example.org:443"]},
	"b": {"egress": []},
}

session(agent, grants) := {
	"kind": "agent", "id": agent, "session": "s1", "agent": agent,
	"authority": {"egress": grants},
}

ask_as(principal, upstream, class) := ask_for(principal, {"agent": principal.agent, "upstream": upstream, "kind": "any", "class": class})

ask_for(principal, resource) := result if {
	question := {"operation": "egress.request", "principal": principal, "resource": resource}
	result := admit.decision with input as question with data.agents as rows
}

everything := session("a", rows.a.egress)

yes := {"version": 1, "ask": false, "allow": true, "reason": "allowed", "rule": "hub.egress.request"}

refusal(reason) := {
	"version": 1, "ask": false, "allow": false, "code": "policy_denied",
	"rule": "hub.egress.request", "reason": reason,
}

test_a_request_needs_authority_and_row if {
	every class in ["metered", "free", "read"] {
		ask_as(everything, "anthropic", class) == yes
	}
	ask_as(everything, "forge", "write") == yes
	ask_as(everything, "npm", "read") == yes
	ask_as(everything, "api.example.org:443", "connect") == yes
	ask_as(session("b", rows.a.egress), "anthropic", "metered") == refusal("agent b may not reach anthropic (metered): add \"anthropic\" to agents.b.egress in policy/data.json")
	ask_as(session("b", rows.a.egress), "forge", "write") == refusal("agent b may not reach forge (write): add \"forge:write\" to agents.b.egress in policy/data.json")
	ask_as(session("a", []), "anthropic", "metered") == refusal("this session's authority does not include reaching anthropic (metered): add \"anthropic\" to may.egress of the card of agent a and of those above it in the chain; it counts for sessions that begin later")
	ask_as(session("b", []), "forge", "write") == refusal("agent b may not reach forge (write): add \"forge:write\" to agents.b.egress in policy/data.json, and to may.egress of the card of agent b and of those above it in the chain; the card counts for sessions that begin later")
	ask_as(session("nobody", rows.a.egress), "anthropic", "metered").allow == false
}

test_writing_and_lines_need_their_own_word if {
	ask_as(session("a", ["anthropic", "forge"]), "forge", "write").allow == false
	ask_as(everything, "anthropic", "write").allow == false
	ask_as(everything, "npm", "write").allow == false
	ask_as(everything, "npm", "free").allow == false
	ask_as(everything, "forge", "connect").allow == false
	ask_as(everything, "forge:write", "connect").allow == false
	ask_as(everything, "forge:write", "read").allow == false
	ask_as(everything, "api.example.org:443", "read").allow == false
	ask_as(everything, "api.example.org:8443", "connect").allow == false
	ask_as(everything, "api.example.org", "connect").allow == false
	not egress.covers("api.example.org", "api.example.org", "connect")
	not egress.covers("forge:connect", "forge", "connect")
}

test_what_is_not_known_is_refused if {
	ask_as(everything, "anthropic", "everything").allow == false
	ask_as(everything, "anthropic", null).allow == false
	ask_as(everything, null, "metered") == refusal("it is unknown what is to be reached")
	ask_for(everything, {"agent": "a"}) == refusal("it is unknown what is to be reached")
	ask_as(session("a", "anthropic"), "anthropic", "metered").allow == false
	ask_as(object.remove(everything, ["authority"]), "anthropic", "metered").allow == false
}

test_a_session_asks_for_itself if {
	ask_for(everything, {"agent": "b", "upstream": "anthropic", "class": "metered"}) == refusal("a session asks for itself alone")
	ask_for(everything, {"upstream": "anthropic", "class": "metered"}).allow == false
}

test_only_sessions_ask if {
	none := {
		"version": 1, "ask": false, "allow": false, "code": "policy_denied", "rule": "hub.egress.default",
		"reason": "no rule lets this principal reach anything outside",
	}
	resource := {"agent": "a", "upstream": "anthropic", "class": "metered"}
	ask_for(object.remove(everything, ["session"]), resource) == none
	every kind in ["operator", "automation", "hub"] {
		ask_for(object.union(everything, {"kind": kind}), resource) == none
	}
	other := egress.answer with input as {"operation": "egress.other", "principal": everything, "resource": resource} with data.agents as rows
	other.allow == false
}

test_both_lists_leave_what_both_permit if {
	egress.narrow(["forge", "forge:read"], ["forge:read"]) == ["forge:read"]
	egress.narrow(["forge"], ["forge:read", "forge:free"]) == ["forge:free", "forge:read"]
	egress.narrow(["forge:metered"], ["forge"]) == ["forge:metered"]
	egress.narrow(["forge:write"], ["forge"]) == []
	egress.narrow(["forge"], ["forge:write"]) == []
	egress.narrow(["forge", "forge:write"], ["npm", "forge:write"]) == ["forge:write"]
	egress.narrow(["a.example:443"], ["a.example:443", "a.example:8443"]) == ["a.example:443"]
	egress.narrow(["a.example:443:read"], ["a.example:443"]) == []
}

test_a_part_is_held_by_its_whole if {
	egress.held("forge:read", ["forge"])
	egress.held("forge:write", ["forge:write"])
	not egress.held("forge:write", ["forge"])
	not egress.held("forge", ["forge:read"])
	not egress.held("forge", [])
	not egress.held("a.example:443:read", ["a.example:443"])
}
