package hub.sandbox_test

import data.hub.sandbox

host := {
	"NetworkMode": "none", "ReadonlyRootfs": true, "Privileged": false, "PublishAllPorts": false,
	"OomKillDisable": false, "CapDrop": ["ALL"], "CapAdd": null, "Binds": [], "Devices": null, "Sysctls": {},
	"Mounts": [{
		"Type": "bind", "Source": "/home/hub/run/s/x", "Target": "/run/hub", "ReadOnly": true,
		"BindOptions": {"Propagation": "rprivate"},
	}],
	"PidMode": "", "UTSMode": "", "UsernsMode": "", "CgroupParent": "", "IpcMode": "none", "CgroupnsMode": "private",
	"SecurityOpt": ["no-new-privileges=true", "seccomp={}", "apparmor=docker-default"],
	"MaskedPaths": [
		"/dev/mqueue", "/dev/pts", "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore",
		"/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
		"/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	],
	"ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
	"Tmpfs": {
		"/tmp": "rw,noexec,nosuid,nodev,size=64m,nr_inodes=4k,uid=60928,gid=60928,mode=0700",
		"/workspace": "rw,noexec,nosuid,nodev,size=256m,nr_inodes=32k,uid=60928,gid=60928,mode=0700",
	},
	"Memory": 536870912, "MemorySwap": 536870912, "NanoCpus": 1000000000, "PidsLimit": 128,
	"Ulimits": [
		{"Name": "nofile", "Soft": 256, "Hard": 256}, {"Name": "core", "Soft": 0, "Hard": 0},
		{"Name": "fsize", "Soft": 268435456, "Hard": 268435456},
	],
	"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
	"RestartPolicy": {"Name": "no"}, "AutoRemove": false, "Runtime": "runc",
}

body := {
	"Image": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"User": "60928:60928", "Entrypoint": ["/shim"], "Healthcheck": {"Test": ["NONE"]},
	"Tty": false, "OpenStdin": false, "AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
	"HostConfig": host,
}

answer_as(kind, document) := result if {
	result := sandbox.answer with input as {
		"operation": "session.provision", "principal": {"kind": kind},
		"resource": {"body": document},
	}
}

answer(document) := answer_as("hub", document)

# Exactly these rules break, and the refusal says so.
breaks(document, names) if {
	answer(document) == {
		"allow": false, "code": "policy_denied", "rule": "hub.sandbox.profile",
		"reason": concat("", [
			"the container body breaks the profile: ", concat(", ", names),
			"; the profile is fixed in hub/work/sandbox/profile.ts",
		]),
	}
}

# A field of HostConfig (or of the body) replaced whole.
host_with(field, value) := json.patch(body, [{"op": "add", "path": ["HostConfig", field], "value": value}])

host_without(field) := json.remove(body, [["HostConfig", field]])

body_with(field, value) := json.patch(body, [{"op": "add", "path": [field], "value": value}])

at(path, value) := json.patch(body, [{"op": "add", "path": path, "value": value}])

test_the_profile_as_it_is_meant_passes if {
	answer(body) == {"allow": true, "reason": "allowed", "rule": "hub.sandbox.profile"}
	answer(host_without("OomKillDisable")).allow == true
	answer(host_with("Runtime", "runsc")).allow == true
	answer(host_with("SecurityOpt", ["seccomp={}", "no-new-privileges=true"])).allow == true
}

test_nobody_else_provisions if {
	every kind in ["operator", "agent", "automation", "watchdog"] {
		answer_as(kind, body) == {"allow": false, "code": "policy_denied", "reason": "only the hub may provision a session", "rule": "hub.sandbox.default"}
		answer_as(kind, {}).rule == "hub.sandbox.default"
	}
}

test_an_empty_body_breaks_all_but_what_may_be_absent if {
	answer({}).allow == false
	breaks({}, [
		"capabilities", "cpu", "entrypoint", "healthcheck", "image", "log", "masked-paths", "memory", "mount",
		"namespaces", "network", "nothing-else-gets-in", "oom", "pids", "privileged", "readonly-paths",
		"readonly-rootfs", "removal", "restart", "runtime", "security-options", "terminal", "tmpfs", "ulimits", "user",
	])
}

test_a_bind_mount_is_refused if breaks(host_with("Binds", ["/:/host"]), ["nothing-else-gets-in"])

test_whatever_else_gets_in_is_refused if {
	every field in [
		"Annotations", "Binds", "ContainerIDFile", "DeviceCgroupRules", "DeviceRequests", "Devices", "Dns", "DnsOptions",
		"DnsSearch", "ExtraHosts", "GroupAdd", "Links", "PortBindings", "StorageOpt", "Sysctls", "Umask", "VolumeDriver",
		"VolumesFrom",
	] {
		breaks(host_with(field, ["x"]), ["nothing-else-gets-in"])
		breaks(host_with(field, {"x": "y"}), ["nothing-else-gets-in"])
		answer(host_with(field, [])).allow == true
	}
	every field in ["ExposedPorts", "NetworkingConfig", "OnBuild", "Shell", "Volumes"] {
		breaks(body_with(field, {"x": {}}), ["nothing-else-gets-in"])
	}
}

test_fields_with_one_right_value if {
	every row in [
		["NetworkMode", "bridge", "network"], ["NetworkMode", "host", "network"], ["ReadonlyRootfs", false, "readonly-rootfs"],
		["Privileged", true, "privileged"], ["Privileged", null, "privileged"], ["PublishAllPorts", true, "privileged"],
		["OomKillDisable", true, "oom"], ["CapDrop", [], "capabilities"], ["CapDrop", ["ALL", "X"], "capabilities"],
		["CapAdd", ["SYS_ADMIN"], "capabilities"], ["PidMode", "host", "namespaces"], ["UTSMode", "host", "namespaces"],
		["UsernsMode", "host", "namespaces"], ["CgroupParent", "/x", "namespaces"], ["IpcMode", "host", "namespaces"],
		["CgroupnsMode", "host", "namespaces"], ["Memory", 0, "memory"], ["MemorySwap", -1, "memory"],
		["NanoCpus", 0, "cpu"], ["NanoCpus", "1", "cpu"], ["NanoCpus", 4000000001, "cpu"], ["PidsLimit", -1, "pids"],
		["PidsLimit", null, "pids"], ["PidsLimit", 1025, "pids"], ["RestartPolicy", {"Name": "always"}, "restart"],
		["AutoRemove", true, "removal"], ["Runtime", "kata", "runtime"], ["Tmpfs", {}, "tmpfs"],
		["Cgroup", "x", "namespaces"], ["Isolation", "process", "namespaces"], ["OomScoreAdj", -1000, "oom"],
		["CpuQuota", 1, "cpu"], ["CpuPeriod", 1, "cpu"], ["CpusetCpus", "0", "cpu"], ["CpusetMems", "0", "cpu"],
		["CpuRealtimePeriod", 1, "cpu"], ["CpuRealtimeRuntime", 1, "cpu"], ["MemorySwappiness", 60, "memory"],
		["MemoryReservation", 1, "memory"], ["KernelMemory", 1, "memory"], ["KernelMemoryTCP", 1, "memory"],
		["MaskedPaths", [], "masked-paths"], ["ReadonlyPaths", [], "readonly-paths"], ["Ulimits", [], "ulimits"],
	] {
		breaks(host_with(row[0], row[1]), [row[2]])
	}
	breaks(host_with("Memory", 8589934593), ["memory"])
}

test_the_memory_ceiling_holds_when_swap_agrees if {
	breaks(json.patch(host_with("Memory", 8589934593), [{"op": "add", "path": "/HostConfig/MemorySwap", "value": 8589934593}]), ["memory"])
}

test_an_image_is_named_by_its_digest if {
	breaks(body_with("Image", "hub/agent:latest"), ["image"])
	breaks(body_with("Image", "sha256:0123"), ["image"])
	breaks(body_with("Image", replace(body.Image, "sha256", "sha512")), ["image"])
}

test_the_rest_of_the_body if {
	every user in ["0:0", "999:999", "65534:65534", "65535:65535", "60928:60929", "060928:060928", "60928", "agent:agent", "", 60928] {
		breaks(body_with("User", user), ["tmpfs", "user"])
	}
	breaks(body_with("Entrypoint", []), ["entrypoint"])
	breaks(body_with("Entrypoint", "/shim"), ["entrypoint"])
	breaks(body_with("Healthcheck", {"Test": ["CMD", "x"]}), ["healthcheck"])
	every field in ["AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "Tty"] {
		breaks(body_with(field, true), ["terminal"])
	}
}

test_what_it_may_write_belongs_to_its_own_user if {
	breaks(body_with("User", "60929:60929"), ["tmpfs"])
	own := json.patch(body_with("User", "1000:1000"), [{"op": "add", "path": "/HostConfig/Tmpfs", "value": {
		"/tmp": replace(host.Tmpfs["/tmp"], "60928", "1000"),
		"/workspace": replace(host.Tmpfs["/workspace"], "60928", "1000"),
	}}])
	answer(own).allow == true
}

test_exactly_one_mount_read_only_at_run_hub if {
	second := {"Type": "bind", "Source": "/", "Target": "/host", "ReadOnly": true}
	breaks(host_with("Mounts", [host.Mounts[0], second]), ["mount"])
	breaks(host_with("Mounts", []), ["mount"])
	breaks(at("/HostConfig/Mounts/0/Type", "volume"), ["mount"])
	breaks(at("/HostConfig/Mounts/0/Target", "/etc"), ["mount"])
	breaks(at("/HostConfig/Mounts/0/ReadOnly", false), ["mount"])
	breaks(at("/HostConfig/Mounts/0/BindOptions/Propagation", "shared"), ["mount"])
	every option in ["CreateMountpoint", "NonRecursive", "ReadOnlyForceRecursive", "ReadOnlyNonRecursive"] {
		breaks(at(concat("/", ["/HostConfig/Mounts/0/BindOptions", option]), true), ["mount"])
		answer(at(concat("/", ["/HostConfig/Mounts/0/BindOptions", option]), false)).allow == true
	}
}

test_security_options_are_all_there_and_all_known if {
	breaks(host_with("SecurityOpt", ["seccomp={}"]), ["security-options"])
	breaks(host_with("SecurityOpt", ["no-new-privileges=true"]), ["security-options"])
	breaks(host_with("SecurityOpt", ["no-new-privileges=true", "apparmor=docker-default"]), ["security-options"])
	every extra in ["seccomp=unconfined", "apparmor=unconfined", "label=disable", "systempaths=unconfined"] {
		breaks(host_with("SecurityOpt", ["no-new-privileges=true", "seccomp={}", extra]), ["security-options"])
	}
}

test_each_masked_and_readonly_path_is_needed if {
	count(host.MaskedPaths) == 14
	every path in host.MaskedPaths {
		breaks(host_with("MaskedPaths", [kept | some kept in host.MaskedPaths; kept != path]), ["masked-paths"])
	}
	every path in host.ReadonlyPaths {
		breaks(host_with("ReadonlyPaths", [kept | some kept in host.ReadonlyPaths; kept != path]), ["readonly-paths"])
	}
}

test_each_tmpfs_option_is_needed if {
	every word in ["noexec", "nosuid", "nodev", "size=", "nr_inodes=", "uid=60928", "gid=60928", "mode=0700"] {
		lacking := object.union(host.Tmpfs, {"/tmp": replace(host.Tmpfs["/tmp"], word, "x")})
		breaks(host_with("Tmpfs", lacking), ["tmpfs"])
	}
	breaks(host_with("Tmpfs", object.union(host.Tmpfs, {"/more": host.Tmpfs["/tmp"]})), ["tmpfs"])
	breaks(host_with("Tmpfs", object.remove(host.Tmpfs, ["/tmp"])), ["tmpfs"])
}

# --- Relaxations: the row of the agent that the label names, and nothing else, moves a wall (T101, T102)

relaxed_answer(relax, tmpfs) := result if {
	changed := json.patch(body, [
		{"op": "add", "path": "/Labels", "value": {"hub.agent": "coder"}},
		{"op": "replace", "path": "/HostConfig/Tmpfs", "value": tmpfs},
	])
	result := answer(changed).allow with data.agents as {"coder": {"relax": relax}, "other": {"relax": ["exec", "shm"]}}
}

running := object.union(host.Tmpfs, {"/workspace": replace(host.Tmpfs["/workspace"], "noexec", "exec")})

sharing := object.union(host.Tmpfs, {"/dev/shm": host.Tmpfs["/tmp"]})

test_T101_programs_run_from_the_workspace_alone_and_only_where_the_row_says_exec if {
	relaxed_answer(["exec"], running) == true
	relaxed_answer(["exec"], host.Tmpfs) == true
	every relax in [[], ["shm"], "exec"] {
		relaxed_answer(relax, running) == false
	}
	every options in ["rw,exec,nodev,nosuid", "rw,exec,nosuid", "rw,nosuid,nodev", "rw,exec,noexec,nosuid,nodev", "exec,nosuid,nodev"] {
		odd := replace(host.Tmpfs["/workspace"], "rw,noexec,nosuid,nodev", options)
		relaxed_answer(["exec"], object.union(host.Tmpfs, {"/workspace": odd})) == false
	}
	elsewhere := object.union(host.Tmpfs, {"/tmp": replace(host.Tmpfs["/tmp"], "noexec", "exec")})
	relaxed_answer(["exec", "shm"], elsewhere) == false
	everywhere := object.union(sharing, {"/dev/shm": replace(sharing["/dev/shm"], "noexec", "exec")})
	relaxed_answer(["exec", "shm"], everywhere) == false
}

test_T102_there_is_a_shm_only_where_the_row_says_so_and_of_one_size if {
	relaxed_answer(["shm"], sharing) == true
	relaxed_answer(["shm"], host.Tmpfs) == true
	every relax in [[], ["exec"], "shm"] {
		relaxed_answer(relax, sharing) == false
	}
	larger := object.union(sharing, {"/dev/shm": replace(sharing["/dev/shm"], "size=64m", "size=65m")})
	relaxed_answer(["shm"], larger) == false
	relaxed_answer(["exec", "shm"], object.union(running, {"/dev/shm": sharing["/dev/shm"]})) == true
	relaxed_answer(["shm"], object.union(sharing, {"/more": host.Tmpfs["/tmp"]})) == false
}

test_a_session_of_no_row_has_every_wall if {
	every tmpfs in [running, sharing] {
		unnamed := json.patch(body, [
			{"op": "add", "path": "/Labels", "value": {"hub.agent": "runtime-probe"}},
			{"op": "replace", "path": "/HostConfig/Tmpfs", "value": tmpfs},
		])
		breaks(unnamed, ["tmpfs"])
	}
}

limit(place, change) := json.patch(body, [{
	"op": "replace", "path": ["HostConfig", "Ulimits", place],
	"value": object.union(host.Ulimits[to_number(place)], change),
}])

test_each_ulimit_is_bounded if {
	breaks(limit("0", {"Hard": 4097, "Soft": 4097}), ["ulimits"])
	breaks(limit("0", {"Hard": 0, "Soft": 0}), ["ulimits"])
	breaks(limit("0", {"Soft": 1}), ["ulimits"])
	breaks(limit("1", {"Hard": 1, "Soft": 1}), ["ulimits"])
	breaks(limit("1", {"Hard": -1, "Soft": -1}), ["ulimits"])
	breaks(limit("2", {"Hard": 4294967297, "Soft": 4294967297}), ["ulimits"])
	breaks(host_with("Ulimits", array.concat(host.Ulimits, [{"Name": "nproc", "Soft": 5, "Hard": 5}])), ["ulimits"])
}

test_the_log_is_bounded if {
	breaks(at("/HostConfig/LogConfig/Type", "syslog"), ["log"])
	breaks(at("/HostConfig/LogConfig/Config", {"max-size": "1m", "max-file": "9"}), ["log"])
	breaks(at("/HostConfig/LogConfig/Config", {"max-file": "1"}), ["log"])
}
