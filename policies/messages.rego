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
} else := admit.no("hub.messages.pair", ["agent ", from, " may not message ", to, ": add \"", to, "\" to agents.", from, ".message in policy/data.json"]) if {
	from := input.principal.agent
	to := input.resource.to.agent
	not to in data.agents[from].message
} else := admit.no("hub.messages.pair", [
	"this session's authority does not include messaging ", to, ": add it to may.message of the card of agent ",
	input.principal.agent, " and of those above it in the chain",
]) if {
	to := input.resource.to.agent
} else := admit.no("hub.messages.pair", ["the recipient is unknown"])

topic := admit.yes("hub.messages.topic") if {
	topic_name in input.principal.authority.topics
	topic_name in data.agents[input.principal.agent].topics
} else := admit.no("hub.messages.topic", [
	"agent ", from, " may not use topic ", topic_name, ": add \"", topic_name, "\" to agents.", from,
	".topics in policy/data.json",
]) if {
	from := input.principal.agent
	not topic_name in data.agents[from].topics
} else := admit.no("hub.messages.topic", [
	"this session's authority does not include topic ", topic_name, ": add it to may.topics of the card of agent ",
	input.principal.agent, " and of those above it in the chain",
]) if {
	is_string(topic_name)
} else := admit.no("hub.messages.topic", ["the topic is unknown"])

topic_name := input.resource.topic if {
	input.operation == "message.subscribe"
} else := input.resource.to.topic
