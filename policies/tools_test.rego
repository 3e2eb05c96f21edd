package hub.tools_test

import data.hub.admit
import data.hub.tools

agents := {"lead": {"relax": ["bypass"]}, "reader": {"relax": ["exec"]}}

answer(document) := result if {
	result := tools.answer with input as document with data.agents as agents
}

session(agent, relax) := {"kind": "agent", "agent": agent, "session": "s1", "authority": {"relax": relax}}

permit(principal, tier, permissions) := answer({
	"operation": "tool.permit", "principal": principal,
	"resource": {"kind": "execute", "tier": tier, "permissions": permissions},
})

yes := {"allow": true, "reason": "allowed", "rule": "hub.tools.permit"}

test_a_session_may_ask_about_a_tool_that_reads_writes_or_executes if {
	every tier in ["read", "write", "execute"] {
		permit(session("reader", []), tier, "ask") == yes
		permit(session("reader", []), tier, "allow") == yes
		permit(session("lead", ["bypass"]), tier, "bypass") == yes
	}
}

# S4-28: whatever the card says.
test_a_person_is_asked_about_what_is_destructive_or_reaches_outside if {
	every tier in ["destructive", "external"] {
		every permissions in ["ask", "allow", "bypass"] {
			result := permit(session("lead", ["bypass"]), tier, permissions)
			result.allow == true
			result.ask == true
			result.reason == concat("", ["a tool of tier ", tier, " is always asked about"])
		}
	}
}

test_a_card_that_says_deny_refuses_each_tool if {
	every tier in ["read", "write", "execute", "destructive", "external"] {
		permit(session("reader", []), tier, "deny") == {
			"allow": false, "code": "policy_denied", "rule": "hub.tools.deny",
			"reason": "the card of agent reader says permissions: deny",
		}
	}
}

test_bypass_needs_the_session_and_the_row if {
	permit(session("reader", ["bypass"]), "read", "bypass") == {
		"allow": false, "code": "policy_denied", "rule": "hub.tools.bypass",
		"reason": "agent reader may not bypass what a rule asks: add \"bypass\" to agents.reader.relax in policy/data.json, or take `permissions: bypass` out of its card; it counts for sessions that begin later",
	}
	permit(session("lead", ["exec"]), "read", "bypass").allow == false
	permit(session("nobody", ["bypass"]), "read", "bypass").allow == false
}

test_what_is_not_known_is_refused if {
	permit(session("reader", []), "huge", "allow").allow == false
	permit(session("reader", []), "read", "always").rule == "hub.tools.default"
	permit({"kind": "agent", "agent": "reader"}, "read", "allow").rule == "hub.tools.default"
	permit({"kind": "operator", "session": "s1"}, "read", "allow").rule == "hub.tools.default"
}

test_the_entry_point_asks_here if {
	result := admit.decision with input as {
		"operation": "tool.permit", "principal": session("reader", []),
		"resource": {"kind": "fetch", "tier": "external", "permissions": "allow"},
	}
		with data.agents as agents
	result.rule == "hub.tools.permit"
	result.ask == true
}
