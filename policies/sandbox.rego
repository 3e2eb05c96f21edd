# METADATA
# title: The container, as it will be asked of the engine (docs/sandbox.md 2)
# description: >-
#   Sees the final create body and can refuse it; it cannot loosen it. Each rule that holds puts its name into `holds`.
#   The refusal names the rules that are missing there.
package hub.sandbox

import data.hub.admit

default answer := {
	"allow": false,
	"code": "policy_denied",
	"reason": "only the hub may provision a session",
	"rule": "hub.sandbox.default",
}

answer := admit.yes("hub.sandbox.profile") if {
	input.principal.kind == "hub"
	count(broken) == 0
} else := admit.no("hub.sandbox.profile", [
	"the container body breaks the profile: ", concat(", ", sort(broken)),
	"; the profile is fixed in hub/work/sandbox/profile.ts",
]) if {
	input.principal.kind == "hub"
}

broken := required - holds

required := {
	"capabilities",
	"cpu",
	"entrypoint",
	"healthcheck",
	"image",
	"log",
	"masked-paths",
	"memory",
	"mount",
	"namespaces",
	"network",
	"nothing-else-gets-in",
	"oom",
	"pids",
	"privileged",
	"readonly-paths",
	"readonly-rootfs",
	"removal",
	"restart",
	"runtime",
	"security-options",
	"terminal",
	"tmpfs",
	"ulimits",
	"user",
}

body := input.resource.body

host := body.HostConfig

nothing := {null, [], {}, "", false}

holds contains "image" if {
	startswith(body.Image, "sha256:")
	count(body.Image) == 71
}

# Its own user and group, not an account that a system keeps for itself: not below 1000, not nobody, not minus one in 16 bits.
user := id if {
	[id, group] := split(body.User, ":")
	id == group
	number := to_number(id)
	number >= 1000
	not number in {65534, 65535}
	format_int(number, 10) == id
}

holds contains "user" if user

holds contains "entrypoint" if {
	is_array(body.Entrypoint)
	count(body.Entrypoint) > 0
}

holds contains "terminal" if {
	every name in ["AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "Tty"] {
		body[name] == false
	}
}

holds contains "healthcheck" if body.Healthcheck.Test == ["NONE"]

holds contains "network" if host.NetworkMode == "none"

holds contains "readonly-rootfs" if host.ReadonlyRootfs == true

holds contains "privileged" if {
	host.Privileged == false
	host.PublishAllPorts == false
}

holds contains "oom" if {
	object.get(host, "OomKillDisable", null) in {false, null}
	object.get(host, "OomScoreAdj", 0) == 0
}

holds contains "capabilities" if {
	host.CapDrop == ["ALL"]
	object.get(host, "CapAdd", null) in nothing
}

holds contains "mount" if {
	[mount] := host.Mounts
	mount.Type == "bind"
	mount.Target == "/run/hub"
	mount.ReadOnly == true
	mount.BindOptions.Propagation == "rprivate"
	every name in ["CreateMountpoint", "NonRecursive", "ReadOnlyForceRecursive", "ReadOnlyNonRecursive"] {
		object.get(mount.BindOptions, name, false) == false
	}
}

holds contains "nothing-else-gets-in" if {
	every name in [
		"Annotations", "Binds", "ContainerIDFile", "DeviceCgroupRules", "DeviceRequests", "Devices", "Dns", "DnsOptions",
		"DnsSearch", "ExtraHosts", "GroupAdd", "Links", "PortBindings", "StorageOpt", "Sysctls", "Umask", "VolumeDriver",
		"VolumesFrom",
	] {
		object.get(host, name, null) in nothing
	}
	every name in ["ExposedPorts", "NetworkingConfig", "OnBuild", "Shell", "Volumes"] {
		object.get(body, name, null) in nothing
	}
}

holds contains "namespaces" if {
	every name in ["Cgroup", "CgroupParent", "Isolation", "PidMode", "UTSMode", "UsernsMode"] {
		object.get(host, name, "") == ""
	}
	host.IpcMode == "none"
	host.CgroupnsMode == "private"
}

holds contains "security-options" if {
	"no-new-privileges=true" in host.SecurityOpt
	some option in host.SecurityOpt
	startswith(option, "seccomp={")
	every each in host.SecurityOpt {
		known_option(each)
	}
}

known_option("no-new-privileges=true")

known_option("apparmor=docker-default")

known_option(option) if startswith(option, "seccomp={")

holds contains "masked-paths" if {
	every path in [
		"/dev/mqueue", "/dev/pts", "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore",
		"/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
		"/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	] {
		path in host.MaskedPaths
	}
}

holds contains "readonly-paths" if {
	every path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
		path in host.ReadonlyPaths
	}
}

holds contains "tmpfs" if {
	object.keys(host.Tmpfs) - moved == {"/tmp", "/workspace"}
	every path, options in host.Tmpfs {
		still(path, options)
		every word in ["size=", "nr_inodes=", "mode=0700"] {
			contains(options, word)
		}
		contains(options, concat("", [",uid=", user, ","]))
		contains(options, concat("", [",gid=", user, ","]))
	}
}

# Nothing runs from what a session can write to, but from its workspace where its row says so. What the card says is asked at the dispatch.
still(_, options) if startswith(options, "rw,noexec,nosuid,nodev,")

still("/workspace", options) if {
	startswith(options, "rw,exec,nosuid,nodev,")
	"exec" in granted
}

moved contains "/dev/shm" if {
	contains(host.Tmpfs["/dev/shm"], ",size=64m,")
	"shm" in granted
}

# The hub itself writes the label, and a canary session has no row.
granted := data.agents[body.Labels["hub.agent"]].relax

holds contains "memory" if {
	within(host.Memory, 8589934592)
	host.MemorySwap == host.Memory
	object.get(host, "MemorySwappiness", null) == null
	every name in ["KernelMemory", "KernelMemoryTCP", "MemoryReservation"] {
		object.get(host, name, 0) == 0
	}
}

holds contains "cpu" if {
	within(host.NanoCpus, 4000000000)
	every name in ["CpuPeriod", "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime"] {
		object.get(host, name, 0) == 0
	}
	every name in ["CpusetCpus", "CpusetMems"] {
		object.get(host, name, "") == ""
	}
}

holds contains "pids" if within(host.PidsLimit, 1024)

# Text, lists and objects compare as greater than any number, null as less: only a number lies between.
within(value, ceiling) if {
	value > 0
	value <= ceiling
}

holds contains "ulimits" if {
	{limit.Name | some limit in host.Ulimits} == {"core", "fsize", "nofile"}
	every limit in host.Ulimits {
		limit.Hard == limit.Soft
		bounded(limit)
	}
}

bounded(limit) if {
	limit.Name == "core"
	limit.Hard == 0
}

bounded(limit) if {
	limit.Name == "fsize"
	within(limit.Hard, 4294967296)
}

bounded(limit) if {
	limit.Name == "nofile"
	within(limit.Hard, 4096)
}

holds contains "log" if {
	host.LogConfig.Type == "json-file"
	host.LogConfig.Config["max-file"] == "1"
	host.LogConfig.Config["max-size"]
}

holds contains "restart" if host.RestartPolicy.Name == "no"

holds contains "removal" if host.AutoRemove == false

holds contains "runtime" if host.Runtime in {"runc", "runsc"}
