# METADATA
# title: The path of a delegation
# description: >-
#   Internal: the session could do this itself, in its own container with its own rights. External: it needs a container of its own. Five
#   things make it external: other secrets, other capabilities, another image, untrusted code, a wider reach. What is not known counts as so.
package hub.delegation

import data.hub.egress

path := {"kind": kind, "because": sort(because)}

kind := "external" if count(because) > 0

kind := "internal" if count(because) == 0

because contains "secrets" if not within("secrets")

because contains "capabilities" if not within("capabilities")

because contains "image" if not input.resource.child.image == "same"

because contains "untrusted" if not input.resource.child.untrusted == false

because contains "reach" if {
	some list in ["message", "topics"]
	not within(list)
}

because contains "reach" if not egress_within

# All that the child's card asks for in this list is held by the session that delegates.
within(list) if {
	is_array(input.resource.child[list])
	every item in input.resource.child[list] {
		item in input.principal.authority[list]
	}
}

# The same for what it reaches outside: `forge` holds `forge:read` too.
egress_within if {
	is_array(input.resource.child.egress)
	every grant in input.resource.child.egress {
		egress.held(grant, input.principal.authority.egress)
	}
}
