/** The literal lists and constants of the hardened profile (sandbox.md section 2). Literal on purpose: defaults differ by engine version. */
import { STOP_GRACE_MS } from '../../protocol/task.ts'

/** Never empty, never absent: an empty list is accepted by the engine, echoed as sent and unmasks everything. */
export const MASKED_PATHS: readonly string[] = [
  // Message queues are files there, counted by user over the whole machine (fault F18).
  '/dev/mqueue',
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]

export const READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
]

/** The masked path of one CPU that can report thermal throttling. */
export const thermalPath = (cpu: number): string => `/sys/devices/system/cpu/cpu${cpu}/thermal_throttle`

export const SHIM: readonly string[] = ['/usr/local/bin/node', '/app/images/agent/shim.js']
/** Where the session's socket folder stands in the container. */
export const SOCKET_FOLDER = '/run/hub'
export const STOP_TIMEOUT_S = STOP_GRACE_MS / 1000
export const SHM_BYTES = 67_108_864

/** The labels every container of ours carries, and no other. */
export const LABEL_KEYS = [
  'hub.instance',
  'hub.session',
  'hub.task',
  'hub.attempt',
  'hub.agent',
  'hub.generation',
  'hub.expires-at',
  'hub.expires-boot',
] as const
