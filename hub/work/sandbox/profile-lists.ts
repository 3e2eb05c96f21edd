/**
 * The literal lists and constants of the hardened profile (docs/sandbox.md 2). They are literal on purpose: defaults differ by engine
 * version.
 */
import { STOP_GRACE_MS } from '../../protocol/stop-grace.ts'

/** Never empty, never absent: the engine accepts an empty list, shows it as it was sent, and unmasks everything. */
export const MASKED_PATHS: readonly string[] = [
  // Message queues are files there, counted by user for the whole machine (fault F18).
  '/dev/mqueue',
  // The kernel counts pseudo-terminals over all containers of the machine: one session could take those of all others (fault F14).
  '/dev/pts',
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
/** Where the session's socket folder is in the container. */
export const SOCKET_FOLDER = '/run/hub'
export const STOP_TIMEOUT_S = STOP_GRACE_MS / 1000
export const SHM_BYTES = 67_108_864

/** The labels that every container of ours carries, and no other container; tests hold the profile and its reference to it. */
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
