package hub.tasks_test

import data.hub.tasks

agents := {
	"lead": {
		"submit": true, "suspended": false, "ttlMs": 5000, "capabilities": ["lead", "read"],
		"delegate": ["reader", "writer", "other"], "secrets": ["s"], "service": true,
		"sensitivity": "confidential", "egress": ["anthropic", "forge:read"], "relax": ["exec"],
	},
	"reader": {"submit": false, "suspended": false, "ttlMs": 3000, "capabilities": ["read"], "delegate": [], "secrets": []},
	"writer": {"submit": true, "suspended": true, "ttlMs": 3000, "capabilities": ["write"], "delegate": ["lead"], "secrets": []},
}

answer(document) := result if {
	result := tasks.answer with input as document with data.agents as agents
}

# --- task.submit, and what starts one again

operator := {"kind": "operator", "id": "me"}

people := {"by": "people", "parent": null}

ask(operation, principal, change) := answer({
	"operation": operation, "principal": principal,
	"resource": object.union({"agent": "lead", "needs": ["read"], "origin": people, "inputs": "none"}, change),
})

submit(principal, agent) := ask("task.submit", principal, {"agent": agent})

ways := ["task.submit", "task.retry", "task.release"]

test_the_operator_submits_retries_and_releases_for_listed_agents if {
	every way in ways {
		ask(way, operator, {}) == {"allow": true, "reason": "allowed", "rule": concat(".", ["hub.tasks", substring(way, 5, -1)])}
		ask(way, operator, {"agent": "reader"}).allow == false
	}
}

test_submit_names_the_line_to_change if {
	submit(operator, "reader") == {
		"allow": false, "code": "policy_denied", "rule": "hub.tasks.submit",
		"reason": "agent reader takes no submitted tasks: set agents.reader.submit to true in policy/data.json",
	}
	submit(operator, "nobody") == {
		"allow": false, "code": "policy_denied", "rule": "hub.tasks.submit",
		"reason": "agent nobody is not in the policy: add agents.nobody to policy/data.json",
	}
}

test_a_token_submits_only_when_it_lists_that if {
	submit({"kind": "automation", "actions": ["task.submit"]}, "lead").allow == true
	submit({"kind": "automation", "actions": ["task.list"]}, "lead").allow == false
	submit({"kind": "automation"}, null).allow == false
	submit({"kind": "automation", "actions": ["task.submit"]}, "reader").allow == false
}

test_a_token_tries_again_what_it_may_submit_and_releases_nothing if {
	both := {"kind": "automation", "actions": ["task.retry", "task.submit", "task.release"]}
	ask("task.retry", both, {}).allow == true
	ask("task.retry", both, {"agent": "reader"}).allow == false
	ask("task.release", both, {}).reason == "this principal may not submit tasks"
	every action in ["task.retry", "task.submit"] {
		ask("task.retry", {"kind": "automation", "actions": [action]}, {}).reason == "this principal may not submit tasks"
	}
}

test_nobody_else_submits if {
	every kind in ["agent", "contact", "device", "hub", "watchdog", "stranger"] {
		every way in ways {
			ask(way, {"kind": kind, "session": "s1", "actions": ways}, {"agent": null}).allow == false
		}
		submit({"kind": kind, "session": "s1", "actions": ["task.submit"]}, null) == {"allow": false, "code": "policy_denied", "reason": "this principal may not submit tasks", "rule": "hub.tasks.submit"}
	}
}

test_an_origin_without_anybody_behind_it_is_refused_without_a_line_to_change if {
	nobody := {"by": "agent", "parent": null}
	ask("task.submit", operator, {"origin": nobody}) == {
		"allow": false, "code": "policy_denied", "reason": "no rule lets this principal do this",
		"rule": "hub.tasks.default",
	}
}

test_a_service_that_is_handed_on_to_nobody_names_that_line if {
	ask("task.dispatch", {"kind": "hub", "id": "dispatcher"}, {"origin": {"by": "services", "parent": "reader"}}).reason == "agent reader may not delegate to lead: add \"lead\" to agents.reader.delegate in policy/data.json"
}

test_a_console_that_may_resume_releases_what_may_be_submitted_and_starts_nothing_else if {
	phone := {"kind": "device", "id": "phone", "via": "console", "rights": ["view", "resume"]}
	ask("task.release", object.remove(phone, ["via"]), {}).allow == false
	ask("task.release", phone, {}).allow == true
	ask("task.release", phone, {"agent": "reader"}).allow == false
	ask("task.release", phone, {"agent": "reader", "origin": {"by": "agent", "parent": "writer"}}).allow == false
	every way in ["task.submit", "task.retry"] {
		ask(way, phone, {}).reason == "this principal may not submit tasks"
	}
	ask("task.release", {"kind": "device", "via": "console", "rights": ["view", "heartbeat", "approve", "stop"]}, {}).allow == false
	ask("task.release", {"kind": "contact", "via": "console", "rights": ["view", "resume"]}, {}).allow == false
}

test_by_capability_people_get_only_whom_they_may_name if {
	submit(operator, null) == {
		"allow": true, "reason": "allowed", "rule": "hub.tasks.submit",
		"narrow": {"agents": ["lead"]},
	}
	ask("task.submit", operator, {"agent": null, "needs": ["lead", "read"]}).narrow.agents == ["lead"]
	ask("task.submit", operator, {"agent": null, "needs": ["lead", "fly"]}) == {
		"allow": false, "code": "no_capable_agent", "rule": "hub.tasks.submit",
		"reason": "no agent that may take this task has lead, fly: see agents.*.capabilities and agents.*.submit in policy/data.json",
	}
}

test_by_capability_nobody_suspended_is_chosen_and_nobody_for_nothing if {
	ask("task.submit", operator, {"agent": null, "needs": ["write"]}).allow == false
	ask("task.submit", operator, {"agent": null, "needs": []}).allow == false
	ask("task.submit", operator, {"agent": false, "needs": ["read"]}).allow == false
}

test_a_canary_is_started_by_name_alone if {
	with_drill := object.union(agents, {"drill": object.union(agents.lead, {"delegate": []})})
	by_name := tasks.answer with data.agents as with_drill with input as {
		"operation": "task.submit", "principal": operator,
		"resource": {"agent": "drill", "needs": [], "origin": people, "inputs": "none"},
	}
	by_name.allow == true
	by_need := tasks.answer with data.agents as with_drill with input as {
		"operation": "task.submit", "principal": operator,
		"resource": {"agent": null, "needs": ["read"], "origin": people, "inputs": "none"},
	}
	by_need.narrow.agents == ["lead"]
	listing := object.union(with_drill, {"lead": object.union(agents.lead, {"delegate": ["drill", "reader"]})})
	handing_on := tasks.answer with data.agents as listing with input as {
		"operation": "task.delegate",
		"principal": object.union(lead, {"authority": object.union(authority, {"delegate": ["drill", "reader"]})}),
		"resource": object.union(resource, {"agent": null, "needs": ["read"], "chain": []}),
	}
	handing_on.narrow.agents == ["reader"]
}

test_a_child_is_tried_again_only_where_both_people_and_its_parent_may_start_it if {
	child := {"by": "people", "parent": "lead"}
	ask("task.retry", operator, {"agent": "reader", "origin": child}).reason == "agent reader takes no submitted tasks: set agents.reader.submit to true in policy/data.json"
	ask("task.retry", operator, {"agent": "writer", "origin": child}).allow == true
	ask("task.retry", operator, {"agent": "writer", "origin": {"by": "people", "parent": "reader"}}) == {
		"allow": false, "code": "policy_denied", "rule": "hub.tasks.retry",
		"reason": "agent reader may not delegate to writer: add \"writer\" to agents.reader.delegate in policy/data.json",
	}
	ask("task.retry", operator, {"agent": "writer", "origin": {"by": "people", "parent": "gone"}}).allow == false
}

test_inputs_are_those_the_asker_may_read if {
	plain := {"kind": "automation", "actions": ["task.submit"]}
	reads := {"kind": "automation", "actions": ["task.submit", "artifact.get"]}
	every inputs in ["none", "own"] {
		ask("task.submit", plain, {"inputs": inputs}).allow == true
	}
	every inputs in ["others", null, true] {
		every agent in ["lead", null] {
			ask("task.submit", plain, {"agent": agent, "inputs": inputs}) == {
				"allow": false, "code": "policy_denied", "rule": "hub.tasks.submit",
				"reason": "you may not read these inputs: upload them yourself, or use a token with artifact.get",
			}
		}
	}
	ask("task.submit", reads, {"inputs": "others"}).allow == true
	ask("task.submit", operator, {"inputs": "others"}).allow == true
	ask("task.submit", {"kind": "device", "actions": ["artifact.get"]}, {"inputs": "others"}).allow == false
}

test_without_its_facts_nothing_is_asked_for if {
	every way in ways {
		answer({"operation": way, "principal": operator, "resource": {}}).allow == false
		answer({"operation": way, "principal": operator, "resource": {"agent": "lead", "inputs": "none"}}).allow == false
		answer({"operation": way, "principal": operator, "resource": {"agent": "lead", "inputs": "none", "origin": {"by": "people"}}}).allow == false
		ask(way, operator, {"origin": {"by": "somebody", "parent": null}}).allow == false
	}
	token := {"kind": "automation", "actions": ["task.submit"]}
	answer({"operation": "task.submit", "principal": token, "resource": {"agent": "lead", "origin": people}}).allow == false
	answer({"operation": "task.submit", "principal": operator, "resource": {}}).rule == "hub.tasks.default"
}

# --- task.dispatch

dispatcher := {"kind": "hub", "id": "dispatcher"}

dispatch(principal, agent, wanted, ceiling) := dispatch_from(principal, agent, wanted, ceiling, people)

dispatch_from(principal, agent, wanted, ceiling, origin) := answer({
	"operation": "task.dispatch", "principal": principal,
	"resource": {
		"agent": agent, "needs": ["read"], "task": "t", "depth": 0, "wanted": wanted, "ceiling": ceiling,
		"origin": origin,
	},
})

free := {"capabilities": null, "ttlMs": 9000}

test_dispatch_narrows_capabilities_to_what_policy_grants if {
	wanted := {"capabilities": ["read", "lead", "write"], "ttlMs": 4000}
	dispatch(dispatcher, "lead", wanted, free) == {
		"allow": true, "reason": "allowed", "rule": "hub.tasks.dispatch",
		"narrow": {"capabilities": ["lead", "read"], "ttlMs": 4000},
	}
}

test_dispatch_narrows_egress_to_what_policy_grants if {
	wanted := {"capabilities": [], "ttlMs": 60, "egress": ["forge", "openai", "anthropic:metered"]}
	dispatch(dispatcher, "lead", wanted, free).narrow == {
		"capabilities": [], "ttlMs": 60,
		"egress": ["anthropic:metered", "forge:read"],
	}
	from_lead := {"by": "agent", "parent": "lead"}
	dispatch_from(dispatcher, "reader", wanted, free, from_lead).narrow.egress == []
	odd := object.union(wanted, {"egress": "anthropic"})
	dispatch(dispatcher, "lead", odd, free).narrow == {"capabilities": [], "ttlMs": 60}
}

relaxing(relax) := {"capabilities": [], "ttlMs": 60, "relax": relax}

dispatch_refusal(reason) := {"allow": false, "code": "policy_denied", "rule": "hub.tasks.dispatch", "reason": reason}

test_dispatch_gives_every_relaxation_or_begins_nothing if {
	dispatch(dispatcher, "lead", relaxing(["exec"]), free).narrow == {"capabilities": [], "ttlMs": 60, "relax": ["exec"]}
	dispatch(dispatcher, "lead", {"capabilities": [], "ttlMs": 60}, free).narrow == {"capabilities": [], "ttlMs": 60}
	dispatch(dispatcher, "lead", relaxing(["shm", "exec"]), free) == dispatch_refusal("agent lead asks for relax shm, which is not granted: add it to agents.lead.relax in policy/data.json, or take it out of the card")
	dispatch(dispatcher, "lead", relaxing("exec"), free).allow == false

	# A row that does not speak of it grants nothing.
	from_lead := {"by": "agent", "parent": "lead"}
	dispatch_from(dispatcher, "reader", relaxing(["exec"]), object.union(free, {"relax": ["exec"]}), from_lead) == dispatch_refusal("agent reader asks for relax exec, which is not granted: add it to agents.reader.relax in policy/data.json, or take it out of the card")

	# The other reasons come first.
	dispatch(dispatcher, "reader", relaxing(["exec"]), free).reason == "agent reader takes no submitted tasks: set agents.reader.submit to true in policy/data.json"
	dispatch(operator, "lead", relaxing(["shm"]), free).reason == "only the hub's dispatcher may dispatch"
}

below_lead(ceiling) := result if {
	granted := object.union(agents, {"reader": object.union(agents.reader, {"relax": ["exec"]})})
	result := tasks.answer with data.agents as granted
		with input as {
			"operation": "task.dispatch", "principal": dispatcher,
			"resource": {
				"agent": "reader", "needs": [], "wanted": relaxing(["exec"]), "ceiling": ceiling,
				"origin": {"by": "agent", "parent": "lead"},
			},
		}
}

test_a_chain_narrows_relaxations if {
	below_lead(object.union(free, {"relax": ["exec"]})).narrow.relax == ["exec"]
	refused := dispatch_refusal("agent reader asks for relax exec, which the session that delegated to it does not hold: add it to relax of the cards above it in the chain, or take it out of its own")
	below_lead(object.union(free, {"relax": ["shm"]})) == refused
	below_lead(free) == refused

	# The other reasons come first.
	from_reader := {"by": "agent", "parent": "reader"}
	dispatch_from(dispatcher, "lead", relaxing(["exec"]), free, from_reader).reason == "agent reader may not delegate to lead: add \"lead\" to agents.reader.delegate in policy/data.json"
}

keeping := {"capabilities": [], "ttlMs": 60, "transcripts": true}

with_row(transcripts) := object.union(agents, {"lead": object.union(agents.lead, {"transcripts": transcripts})})

test_a_conversation_is_kept_where_card_and_row_both_say_so if {
	refused := dispatch_refusal("agent lead asks for transcripts, which are not granted: set agents.lead.transcripts to true in policy/data.json, or take it out of the card")
	dispatch(dispatcher, "lead", keeping, free) == refused
	start := {
		"operation": "task.dispatch", "principal": dispatcher,
		"resource": {"agent": "lead", "needs": [], "wanted": keeping, "ceiling": free, "origin": people},
	}
	granted := tasks.answer with data.agents as with_row(true) with input as start
	granted.narrow == {"capabilities": [], "ttlMs": 60}
	tasks.answer == refused with data.agents as with_row(false) with input as start
	tasks.answer == refused with data.agents as with_row("true") with input as start

	# The row of another agent grants nothing.
	of_another := object.union(agents, {"reader": object.union(agents.reader, {"transcripts": true})})
	tasks.answer == refused with data.agents as of_another with input as start

	# The other reasons come first.
	dispatch(dispatcher, "reader", keeping, free).reason == "agent reader takes no submitted tasks: set agents.reader.submit to true in policy/data.json"
}

conversation(operation, transcripts, row) := result if {
	result := tasks.answer with data.agents as with_row(row)
		with input as {"operation": operation, "principal": lead, "resource": {"transcripts": transcripts}}
}

test_a_session_reads_and_keeps_its_own_conversation_alone if {
	every operation in ["transcript.get", "transcript.put"] {
		conversation(operation, true, true) == {"allow": true, "reason": "allowed", "rule": "hub.tasks.transcript"}
		conversation(operation, true, false).reason == "agent lead keeps no conversation: set agents.lead.transcripts to true in policy/data.json and `transcripts: true` in its card"
		conversation(operation, false, true).allow == false
		conversation(operation, null, true).allow == false
		conversation(operation, true, "true").allow == false
		asked := {"operation": operation, "principal": lead, "resource": {"transcripts": true}}
		of_another := object.union(agents, {"reader": object.union(agents.reader, {"transcripts": true})})
		of_another_row := tasks.answer with data.agents as of_another with input as asked
		of_another_row.allow == false

		# The row grants it, so that only who asks is judged.
		in_its_name := {"kind": "automation", "agent": "lead", "actions": [operation]}
		every principal in [operator, dispatcher, in_its_name, object.remove(lead, ["session"])] {
			stranger := {"operation": operation, "principal": principal, "resource": {"transcripts": true}}
			judged := tasks.answer with data.agents as with_row(true) with input as stranger
			judged.allow == false
		}
	}
}

test_dispatch_never_passes_the_ceiling_of_the_chain if {
	wanted := {"capabilities": ["read", "lead"], "ttlMs": 4000}
	narrow := {"capabilities": ["read"], "ttlMs": 2000}
	dispatch(dispatcher, "lead", wanted, {"capabilities": ["read", "write"], "ttlMs": 2000}).narrow == narrow
	dispatch(dispatcher, "lead", wanted, {"capabilities": [], "ttlMs": 2000}).narrow.capabilities == []
}

test_dispatch_gives_the_shortest_of_the_three_spans if {
	wanted := {"capabilities": [], "ttlMs": 60000}
	dispatch(dispatcher, "lead", wanted, {"capabilities": null, "ttlMs": 70000}).narrow.ttlMs == 5000
	dispatch(dispatcher, "lead", wanted, {"capabilities": null, "ttlMs": 0}).allow == false
	dispatch(dispatcher, "lead", {"capabilities": [], "ttlMs": "x"}, free).allow == false
	dispatch(dispatcher, "lead", wanted, {"capabilities": null, "ttlMs": "x"}).allow == false
	dispatch(dispatcher, "lead", wanted, {}).allow == false
	dispatch(dispatcher, "lead", {}, free).allow == false
}

# A reason is given only where it is the one that refuses; where none is, the words of the default stand.
test_a_refusal_names_no_line_that_would_change_nothing if {
	default_reason := "no rule lets this principal do this"
	ask("task.submit", operator, {"agent": "reader", "origin": {"by": "agent", "parent": null}}).reason == default_reason
	ask("task.submit", operator, {"agent": "lead", "origin": {"by": "services", "parent": "reader"}}).reason == "agent reader may not delegate to lead: add \"lead\" to agents.reader.delegate in policy/data.json"
	dispatch_from(dispatcher, "reader", {"capabilities": [], "ttlMs": "x"}, free, {"by": "agent", "parent": "lead"}).reason == default_reason
}

test_only_a_token_reads_inputs_by_its_actions if {
	actions := ["artifact.get", "task.submit"]
	tasks.inputs_readable with input as {"principal": {"kind": "automation", "actions": actions}, "resource": {"inputs": "others"}}
	not tasks.inputs_readable with input as {"principal": {"kind": "device", "actions": actions}, "resource": {"inputs": "others"}}
}

test_only_the_dispatcher_dispatches if {
	wanted := {"capabilities": [], "ttlMs": 60}
	refusal := {"allow": false, "code": "policy_denied", "rule": "hub.tasks.dispatch", "reason": "only the hub's dispatcher may dispatch"}
	every agent in ["lead", null] {
		dispatch({"kind": "hub", "id": "reaper"}, agent, wanted, free) == refusal
		dispatch({"kind": "operator", "id": "dispatcher"}, agent, wanted, free) == refusal
	}
}

test_dispatch_refuses_unknown_and_suspended_agents_by_name if {
	wanted := {"capabilities": [], "ttlMs": 60}
	dispatch(dispatcher, "nobody", wanted, free) == {
		"allow": false, "code": "policy_denied", "rule": "hub.tasks.dispatch",
		"reason": "agent nobody is not in the policy: add agents.nobody to policy/data.json",
	}
	dispatch(dispatcher, "writer", wanted, free) == {
		"allow": false, "code": "policy_denied", "rule": "hub.tasks.dispatch",
		"reason": "agent writer is suspended: set agents.writer.suspended to false in policy/data.json",
	}
}

from(agent, origin) := dispatch_from(dispatcher, agent, {"capabilities": [], "ttlMs": 60}, free, origin)

test_dispatch_asks_once_more_whether_this_task_may_have_this_agent if {
	from("reader", people).reason == "agent reader takes no submitted tasks: set agents.reader.submit to true in policy/data.json"
	from("reader", {"by": "agent", "parent": "lead"}).allow == true
	from("reader", {"by": "agent", "parent": "writer"}).reason == "agent writer may not delegate to reader: add \"reader\" to agents.writer.delegate in policy/data.json"
	from("reader", {"by": "agent", "parent": null}).allow == false
	from("lead", {"by": "agent", "parent": null}).allow == false
	from("lead", {"by": "services", "parent": null}).allow == true
	from("reader", {"by": "services", "parent": null}).reason == "agent reader may not run as a service: set agents.reader.service to true in policy/data.json"
	from("reader", {"by": "people", "parent": "lead"}).allow == false
}

test_dispatch_by_capability_says_among_whom if {
	dispatch(dispatcher, null, {}, {}) == {
		"allow": true, "reason": "allowed", "rule": "hub.tasks.dispatch",
		"narrow": {"agents": ["lead"]},
	}
	dispatch_from(dispatcher, null, {}, {}, {"by": "agent", "parent": "lead"}).narrow.agents == ["reader"]
	dispatch_from(dispatcher, null, {}, {}, {"by": "agent", "parent": "reader"}) == {
		"allow": false, "code": "no_capable_agent", "rule": "hub.tasks.dispatch",
		"reason": "no agent that may take this task has read: see agents.*.capabilities and agents.*.submit in policy/data.json",
	}
}

# --- service.start

start(principal, resource) := answer({
	"operation": "service.start", "principal": principal,
	"resource": object.union({"origin": {"by": "services", "parent": null}}, resource),
})

services := {"kind": "hub", "id": "services"}

test_the_hub_starts_a_service_that_may_be_one if {
	start(services, {"agent": "lead"}) == {"allow": true, "reason": "allowed", "rule": "hub.tasks.start"}
	start(services, {"agent": "lead", "origin": people}).allow == false
}

test_a_service_without_the_right_is_refused_by_name if {
	start(services, {"agent": "reader"}) == {
		"allow": false, "code": "policy_denied", "rule": "hub.tasks.start",
		"reason": "agent reader may not run as a service: set agents.reader.service to true in policy/data.json",
	}
	start(services, {}).allow == false
}

test_nobody_else_starts_a_service if {
	start({"kind": "hub", "id": "dispatcher"}, {"agent": "lead"}).reason == "only the hub starts a service"
	start({"kind": "operator", "id": "services"}, {"agent": "lead"}).allow == false
	start({"kind": "agent", "id": "services"}, {"agent": "lead"}).allow == false
}

# --- run.step

step(principal, resource) := answer({
	"operation": "run.step", "principal": principal,
	"resource": object.union({"agent": "lead", "needs": [], "origin": people}, resource),
})

runner := {"kind": "hub", "id": "runner"}

test_a_step_starts_only_what_whoever_asked_for_the_run_may_start if {
	step(runner, {}) == {"allow": true, "reason": "allowed", "rule": "hub.tasks.step"}
	step(runner, {"agent": null, "needs": ["read"]}).narrow == {"agents": ["lead"]}
	step(runner, {"agent": "reader"}) == {
		"allow": false, "code": "policy_denied", "rule": "hub.tasks.step",
		"reason": "agent reader takes no submitted tasks: set agents.reader.submit to true in policy/data.json",
	}
	step(runner, {"agent": "reader", "origin": {"by": "agent", "parent": "lead"}}).allow == true
	step(runner, {"agent": "reader", "origin": {"by": "agent", "parent": "reader"}}).allow == false
	step(runner, {"sensitivity": "restricted"}).allow == false
}

test_nobody_else_starts_a_step if {
	step({"kind": "hub", "id": "dispatcher"}, {}).reason == "only the hub's runner starts steps"
	step({"kind": "operator", "id": "runner"}, {}).allow == false
	step({"kind": "agent", "id": "runner"}, {}).allow == false
}

# --- work with a class of data

classes := ["public", "internal", "confidential", "restricted"]

reaches(index, taken) if index <= taken

else := false

test_labelled_work_goes_only_to_agents_whose_row_takes_its_class if {
	every index, class in classes {
		every taken, upto in classes {
			row := object.union(agents.lead, {"sensitivity": upto})
			result := tasks.answer with data.agents as {"lead": row} with input as {
				"operation": "task.submit", "principal": operator,
				"resource": {"agent": "lead", "needs": [], "origin": people, "inputs": "none", "sensitivity": class},
			}
			result.allow == reaches(index, taken)
		}
	}
	every way in ways {
		ask(way, operator, {"sensitivity": "confidential"}).allow == true
		ask(way, operator, {"sensitivity": "restricted"}) == {
			"allow": false, "code": "policy_denied", "rule": concat(".", ["hub.tasks", substring(way, 5, -1)]),
			"reason": "agent lead takes no restricted tasks: set agents.lead.sensitivity to \"restricted\" in policy/data.json",
		}
		ask(way, operator, {"sensitivity": null}).allow == true
	}
}

test_a_row_that_says_nothing_takes_no_labelled_work_and_an_unknown_class_goes_to_nobody if {
	silent := object.remove(agents.lead, ["sensitivity"])
	every row in [silent, object.union(silent, {"sensitivity": null}), object.union(silent, {"sensitivity": "all"})] {
		result := tasks.answer with data.agents as {"lead": row} with input as {
			"operation": "task.submit", "principal": operator,
			"resource": {"agent": "lead", "needs": [], "origin": people, "inputs": "none", "sensitivity": "public"},
		}
		result.allow == false
	}
	every class in ["secret", "", "Public", 0, true, ["public"]] {
		ask("task.submit", operator, {"sensitivity": class}).allow == false
	}
}

test_a_labelled_task_without_an_agent_is_narrowed_to_those_that_take_it if {
	answer({
		"operation": "task.dispatch", "principal": dispatcher,
		"resource": {"agent": null, "needs": ["read"], "origin": people, "sensitivity": "confidential"},
	}).narrow == {"agents": ["lead"]}
	answer({
		"operation": "task.dispatch", "principal": dispatcher,
		"resource": {"agent": null, "needs": ["read"], "origin": people, "sensitivity": "restricted"},
	}) == {
		"allow": false, "code": "no_capable_agent", "rule": "hub.tasks.dispatch",
		"reason": "no agent that may take a restricted task has read: see agents.*.capabilities, agents.*.submit and agents.*.sensitivity in policy/data.json",
	}
}

taking := object.union(agents, {"reader": object.union(agents.reader, {"sensitivity": "internal"})})

child(change) := result if {
	result := tasks.answer with data.agents as taking with input as {"operation": "task.delegate", "principal": lead, "resource": object.union(resource, change)}
}

test_a_labelled_child_goes_only_to_agents_that_take_it if {
	child({"sensitivity": "internal"}).allow == true
	child({"agent": null, "needs": ["read"], "sensitivity": "internal"}).narrow == {"agents": ["reader"]}
	child({"agent": null, "needs": ["read"], "sensitivity": "confidential"}).allow == false
	child({"sensitivity": "confidential"}) == delegation_refusal("policy_denied", "agent reader takes no confidential tasks: set agents.reader.sensitivity to \"confidential\" in policy/data.json")
	child({"chain": null}).reason == "no agent this session may delegate to has what is needed"
}

# --- task.delegate

authority := {
	"capabilities": ["lead", "read"], "message": ["reader"], "delegate": ["reader", "writer", "lead"],
	"topics": [], "secrets": ["s"], "egress": ["forge"],
}

lead := {"kind": "agent", "id": "s1", "session": "s1", "agent": "lead", "authority": authority}

resource := {
	"agent": "reader", "needs": [], "wanted": {"capabilities": ["read"]},
	"depthLeft": 1, "tasksLeft": 1, "chain": ["lead"],
}

delegate(change) := delegate_as(lead, change)

delegate_as(principal, change) := answer({
	"operation": "task.delegate", "principal": principal,
	"resource": object.union(resource, change),
})

delegation_refusal(code, reason) := {"allow": false, "code": code, "rule": "hub.tasks.delegate", "reason": reason}

test_a_lead_delegates_to_whom_authority_and_policy_both_name if {
	delegate({}) == {"allow": true, "reason": "allowed", "rule": "hub.tasks.delegate"}
	delegate({"wanted": {"secrets": ["s"], "message": ["reader"]}}).allow == true
	delegate({"wanted": {"egress": ["forge", "forge:read"]}}).allow == true
}

test_delegation_ends_at_the_depth if {
	refused := delegation_refusal("delegation_depth", "this chain may go no deeper")
	delegate({"depthLeft": 0}) == refused
	delegate({"depthLeft": "1"}) == refused
	delegate({"depthLeft": null}).allow == false
}

test_delegation_ends_with_the_tasks_of_the_tree if {
	refused := delegation_refusal("limit_exceeded", "the tree this task belongs to may create no more tasks")
	delegate({"tasksLeft": 0}) == refused
	delegate({"tasksLeft": "1"}) == refused
}

test_no_agent_stands_twice_in_a_chain if {
	delegate({"chain": ["lead", "reader"]}) == delegation_refusal("delegation_cycle", "agent reader is already in this chain")
	itself := object.union(lead, {"agent": "writer"})
	delegate_as(itself, {"agent": "lead"}).reason == "agent lead is already in this chain"
	delegate({"chain": null}).allow == false
}

test_a_child_never_holds_more_than_its_parent if {
	delegate({"wanted": {"capabilities": ["write", "read", "act"]}}) == delegation_refusal("delegation_wider", "act, write is more than the delegating session holds")
	every list in ["message", "delegate", "topics", "secrets", "egress"] {
		delegate({"wanted": {list: ["x"]}}) == delegation_refusal("delegation_wider", "x is more than the delegating session holds")
	}
	delegate({"wanted": {"egress": ["forge:read", "forge:write"]}}) == delegation_refusal("delegation_wider", "forge:write is more than the delegating session holds")
	delegate_as(object.remove(lead, ["authority"]), {}).allow == false
	delegate({"wanted": null}).allow == false
}

test_a_child_moves_no_wall_that_stands_for_its_parent if {
	wider := delegation_refusal("delegation_wider", "agent reader asks for relax exec, which the delegating session does not hold: add it to relax of the cards above it in the chain, or take it out of its own")
	delegate({"child": {"relax": ["exec"]}}) == wider
	delegate({"child": {}}).allow == true
	delegate({"child": null}).allow == true
	relaxed := object.union(lead, {"authority": object.union(authority, {"relax": ["exec"]})})
	delegate_as(relaxed, {"child": {"relax": ["exec"]}}).allow == true
	delegate_as(relaxed, {"child": {"relax": ["exec", "shm"]}}).reason == "agent reader asks for relax shm, which the delegating session does not hold: add it to relax of the cards above it in the chain, or take it out of its own"

	# The other reasons come first.
	not contains(delegate({"agent": "stranger", "child": {"relax": ["exec"]}}).reason, "relax")
	delegate({"sensitivity": "confidential", "child": {"relax": ["exec"]}}).reason == "agent reader takes no confidential tasks: set agents.reader.sensitivity to \"confidential\" in policy/data.json"
}

test_delegation_names_the_line_to_change if {
	reader := object.union(lead, {"agent": "reader"})
	delegate_as(reader, {"agent": "writer"}) == delegation_refusal("policy_denied", "agent reader may not delegate to writer: add \"writer\" to agents.reader.delegate in policy/data.json")
	delegate({"agent": "other"}) == delegation_refusal("policy_denied", "this session's authority does not include delegating to other: add it to may.delegate of the card of agent lead and of those above it in the chain")
	delegate({"agent": 5, "chain": []}).allow == false
}

test_by_capability_the_hub_may_choose_only_among_the_allowed if {
	delegate({"agent": null, "needs": ["read"], "chain": []}) == {
		"allow": true, "reason": "allowed", "rule": "hub.tasks.delegate",
		"narrow": {"agents": ["reader"]},
	}
	none := delegation_refusal("policy_denied", "no agent this session may delegate to has what is needed")
	delegate({"agent": null, "needs": ["fly"]}) == none
	delegate({"agent": null, "needs": []}) == none
	delegate({"agent": null, "needs": ["read"], "chain": ["lead", "reader"]}) == none
	delegate({"agent": null, "needs": ["read"], "depthLeft": 0}).allow == false
	delegate({"agent": false, "needs": ["read"]}).allow == false
}

test_only_agents_delegate if {
	delegate_as(object.union(lead, {"kind": "operator"}), {}).allow == false
}

# --- a session's own verbs

own_verbs := [
	"artifact.put", "session.frame", "session.join", "session.open", "session.renew", "session.turn", "task.ask",
	"task.log", "task.progress", "task.result",
]

test_a_session_does_its_own_verbs_without_a_policy_row if {
	every operation in own_verbs {
		answer({"operation": operation, "principal": {"kind": "agent", "session": "s1"}}) == {"allow": true, "reason": "allowed", "rule": "hub.tasks.own"}
		answer({"operation": operation, "principal": {"kind": "agent"}}).allow == false
		answer({"operation": operation, "principal": {"kind": "hub", "session": "s1"}}).allow == false
	}
}

test_a_verb_is_answered_by_its_own_rule_alone if {
	resource_of_all := {"name": "s", "own": true, "agent": "reader"}
	answer({"operation": "task.log", "principal": lead, "resource": resource_of_all}).rule == "hub.tasks.own"
	answer({"operation": "secret.get", "principal": lead, "resource": resource_of_all}).rule == "hub.tasks.secret"
}

test_an_agent_has_no_other_verbs if {
	every operation in ["task.cancel", "mode.show", "hub.shutdown", "session.list", "task.settle", ""] {
		answer({"operation": operation, "principal": lead}) == {"allow": false, "code": "policy_denied", "reason": "no rule lets this principal do this", "rule": "hub.tasks.default"}
	}
}

test_an_artifact_is_read_by_its_task_and_by_children if {
	every operation in ["artifact.get", "artifact.list"] {
		answer({"operation": operation, "principal": lead, "resource": {"own": true, "inherited": false}}).allow == true
		answer({"operation": operation, "principal": lead, "resource": {"own": false, "inherited": true}}).allow == true
		answer({"operation": operation, "principal": lead, "resource": {"own": false, "inherited": false}}) == {
			"allow": false, "code": "policy_denied", "rule": "hub.tasks.artifact",
			"reason": "this artifact belongs neither to this task nor to the one it was delegated from",
		}
		answer({"operation": operation, "principal": {"kind": "hub"}, "resource": {"own": true}}).allow == false
		answer({"operation": operation, "principal": {"kind": "hub"}, "resource": {"inherited": true}}).allow == false
	}
}

secret(principal, name) := answer({"operation": "secret.get", "principal": principal, "resource": {"name": name}})

test_a_secret_needs_both_authority_and_policy if {
	secret(lead, "s") == {"allow": true, "reason": "allowed", "rule": "hub.tasks.secret"}
	secret(object.union(lead, {"authority": {"secrets": []}}), "s").allow == false
	secret(object.union(lead, {"kind": "operator"}), "s").allow == false
	reader := object.union(lead, {"agent": "reader"})
	secret(reader, "s") == {
		"allow": false, "code": "policy_denied", "rule": "hub.tasks.secret",
		"reason": "agent reader may not have secret s: add \"s\" to agents.reader.secrets in policy/data.json and to may.secrets of its card",
	}
}
