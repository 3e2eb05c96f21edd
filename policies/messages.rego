# METADATA
# title: Messages
# description: >-
#   Who may say what to whom. A session may always talk to its parent and its own delegated children; anything else
#   needs the pair both in the session's authority (its card, narrowed along the chain) and in `data.agents`.
package hub.messages

import data.hub.admit

default answer := {
	"allow": false,
	"code": "policy_denied",
	"reason": "no rule lets this principal send or receive this",
	"rule": "hub.messages.default",
}

answer := send if {
	in_session
	input.operation == "message.send"
}

answer := topic if {
	in_session
	input.operation == "message.subscribe"
}

# The router checks that a reply matches an open request. Receiving means reading one's own mailbox.
answer := admit.yes("hub.messages.own") if {
	in_session
	input.operation in {"message.receive", "message.reply"}
}

in_session if {
	input.principal.kind == "agent"
	is_string(input.principal.session)
}

send := pair if {
	input.resource.kind == "request"
} else := topic if {
	input.resource.kind == "event"
} else := pair if {
	input.resource.kind == "broadcast"
	data.agents[input.principal.agent].broadcast == true
} else := admit.no("hub.messages.broadcast", ["agent ", from, " may not broadcast to ", to, ": set agents.", from, ".broadcast to true in policy/data.json, ", missing("message", to)]) if {
	input.resource.kind == "broadcast"
	pair.allow == false
	from := input.principal.agent
	to := input.resource.to.agent
} else := admit.no("hub.messages.broadcast", [
	"agent ", input.principal.agent, " may not broadcast: set agents.", input.principal.agent,
	".broadcast to true in policy/data.json",
]) if {
	input.resource.kind == "broadcast"
} else := admit.no("hub.messages.send", ["a message is sent as request, event or broadcast"])

pair := admit.yes("hub.messages.kin") if {
	input.resource.relation in {"child", "parent"}
} else := admit.yes("hub.messages.pair") if {
	input.resource.to.agent in input.principal.authority.message
	input.resource.to.agent in data.agents[input.principal.agent].message
} else := admit.no("hub.messages.pair", ["agent ", input.principal.agent, " may not message ", to, ": ", missing("message", to)]) if {
	to := input.resource.to.agent
} else := admit.no("hub.messages.pair", ["the recipient is unknown"])

topic := admit.yes("hub.messages.topic") if {
	topic_name in input.principal.authority.topics
	topic_name in data.agents[input.principal.agent].topics
} else := admit.no("hub.messages.topic", ["agent ", input.principal.agent, " may not use topic ", topic_name, ": ", missing("topics", topic_name)]) if {
	is_string(topic_name)
} else := admit.no("hub.messages.topic", ["the topic is unknown"])

topic_name := input.resource.topic if {
	input.operation == "message.subscribe"
} else := input.resource.to.topic

# All that is missing is named at once: the row, the cards, or both. Of the cards the rules see only what they leave together.
missing(list, thing) := concat("", ["add \"", thing, "\" to ", row(list), " and to ", cards(list)]) if {
	not thing in data.agents[input.principal.agent][list]
	not thing in input.principal.authority[list]
} else := concat("", ["add \"", thing, "\" to ", row(list)]) if {
	not thing in data.agents[input.principal.agent][list]
} else := concat("", ["add \"", thing, "\" to ", cards(list)])

row(list) := concat("", ["agents.", input.principal.agent, ".", list, " in policy/data.json"])

cards(list) := concat("", ["may.", list, " of the card of agent ", input.principal.agent, " and of those above it in the chain"])
