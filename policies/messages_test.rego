package hub.messages_test

import data.hub.messages

agents := {
	"a": {"message": ["b"], "topics": ["t"], "broadcast": true},
	"b": {"message": [], "topics": [], "broadcast": false},
}

answer(document) := result if {
	result := messages.answer with input as document with data.agents as agents
}

session(agent) := {
	"kind": "agent", "id": "s1", "session": "s1", "agent": agent,
	"authority": {"message": ["b", "c"], "topics": ["t", "u"]},
}

send_as(principal, resource) := answer({"operation": "message.send", "principal": principal, "resource": resource})

request(to, relation) := {"kind": "request", "type": "x", "to": {"agent": to}, "relation": relation}

broadcast(to) := {"kind": "broadcast", "type": "x", "to": {"agent": to}, "relation": "none"}

event(topic) := {"kind": "event", "type": "x", "to": {"topic": topic}, "relation": "none"}

refusal(rule, reason) := {"allow": false, "code": "policy_denied", "rule": rule, "reason": reason}

narrow(principal) := object.union(principal, {"authority": {"message": [], "topics": []}})

test_parent_and_children_need_no_row if {
	every relation in ["parent", "child"] {
		send_as(narrow(session("b")), request("a", relation)) == {"allow": true, "reason": "allowed", "rule": "hub.messages.kin"}
	}
}

test_a_pair_needs_both_authority_and_policy if {
	send_as(session("a"), request("b", "none")) == {"allow": true, "reason": "allowed", "rule": "hub.messages.pair"}
	send_as(session("a"), request("c", "none")) == refusal(
		"hub.messages.pair",
		"agent a may not message c: add \"c\" to agents.a.message in policy/data.json",
	)
	send_as(narrow(session("a")), request("b", "none")) == refusal(
		"hub.messages.pair",
		"agent a may not message b: add \"b\" to may.message of the card of agent a and of those above it in the chain",
	)
	send_as(narrow(session("a")), request("c", "none")) == refusal(
		"hub.messages.pair",
		"agent a may not message c: add \"c\" to agents.a.message in policy/data.json and to may.message of the card of agent a and of those above it in the chain",
	)
	send_as(session("nobody"), request("b", "none")).allow == false
	send_as(session("a"), {"kind": "request", "to": {"session": "s2"}}) == refusal(
		"hub.messages.pair",
		"the recipient is unknown",
	)
}

test_an_event_needs_its_topic_in_both_and_no_kinship_helps if {
	send_as(session("a"), event("t")) == {"allow": true, "reason": "allowed", "rule": "hub.messages.topic"}
	send_as(session("a"), event("u")) == refusal(
		"hub.messages.topic",
		"agent a may not use topic u: add \"u\" to agents.a.topics in policy/data.json",
	)
	send_as(narrow(session("a")), event("t")) == refusal(
		"hub.messages.topic",
		"agent a may not use topic t: add \"t\" to may.topics of the card of agent a and of those above it in the chain",
	)
	send_as(narrow(session("a")), event("u")) == refusal(
		"hub.messages.topic",
		"agent a may not use topic u: add \"u\" to agents.a.topics in policy/data.json and to may.topics of the card of agent a and of those above it in the chain",
	)
	send_as(session("b"), object.union(event("t"), {"relation": "parent"})).allow == false
	send_as(session("a"), {"kind": "event", "to": {}}) == refusal("hub.messages.topic", "the topic is unknown")
}

test_a_broadcast_needs_the_flag_and_each_pair if {
	send_as(session("a"), broadcast("b")).allow == true
	send_as(session("a"), broadcast("c")).allow == false
	send_as(session("b"), object.union(broadcast("a"), {"relation": "parent"})) == refusal(
		"hub.messages.broadcast",
		"agent b may not broadcast: set agents.b.broadcast to true in policy/data.json",
	)
	send_as(narrow(session("b")), broadcast("a")) == refusal(
		"hub.messages.broadcast",
		"agent b may not broadcast to a: set agents.b.broadcast to true in policy/data.json, add \"a\" to agents.b.message in policy/data.json and to may.message of the card of agent b and of those above it in the chain",
	)
}

test_other_kinds_are_not_sent if {
	every kind in ["reply", "delegate", "result", "", null] {
		send_as(session("a"), object.union(request("b", "parent"), {"kind": kind})) == refusal(
			"hub.messages.send",
			"a message is sent as request, event or broadcast",
		)
		send_as(session("a"), object.union(request("c", "none"), {"kind": kind})).rule == "hub.messages.send"
	}
}

test_subscribing_needs_the_topic_in_both if {
	subscribe := {"operation": "message.subscribe", "principal": session("a"), "resource": {"topic": "t"}}
	answer(subscribe) == {"allow": true, "reason": "allowed", "rule": "hub.messages.topic"}
	answer(object.union(subscribe, {"resource": {"topic": "u"}})).allow == false
	answer(object.union(subscribe, {"principal": narrow(session("a"))})).allow == false
	answer(object.union(subscribe, {"resource": {"topic": "u", "to": {"topic": "t"}}})).allow == false
	send_as(session("a"), object.union(event("t"), {"topic": "u"})).allow == true
}

test_reading_ones_mail_and_answering_is_always_allowed if {
	every operation in ["message.receive", "message.reply"] {
		answer({"operation": operation, "principal": {"kind": "agent", "session": "s1"}}) == {"allow": true, "reason": "allowed", "rule": "hub.messages.own"}
	}
}

test_without_a_session_nothing_is_sent_or_received if {
	refused := {"allow": false, "code": "policy_denied", "reason": "no rule lets this principal send or receive this", "rule": "hub.messages.default"}
	resource := object.union(request("b", "parent"), {"topic": "t"})
	every operation in ["message.send", "message.reply", "message.receive", "message.subscribe"] {
		answer({"operation": operation, "principal": object.union(session("a"), {"kind": "hub"}), "resource": resource}) == refused
		answer({"operation": operation, "principal": object.remove(session("a"), ["session"]), "resource": resource}) == refused
	}
	answer({"operation": "message.list", "principal": session("a"), "resource": resource}) == refused
}
