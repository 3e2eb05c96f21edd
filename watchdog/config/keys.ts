/**
 * What each key of `watchdog/config.yaml` means, for the reference page; no process loads it. A test compares it
 * with the keys that `config.ts` reads; the figures of spans come from there.
 */
import type { Spans } from './config.ts'

export const SPAN_WORDS: Readonly<Record<keyof Spans, string>> = {
  intervalMs: 'how often it looks, and sends a lease',
  leaseTimeoutMs: 'how long a lease waits for the answer of the hub; below three times `interval`',
  engineTimeoutMs: 'how long a call of the container engine may take',
  startGraceMs: 'after its own start the watchdog waits this long for a hub that is not there yet',
  orphanAgeMs: 'a container that belongs to no session is left alone for this long',
  ttlGraceMs: 'a container is left alone for this long past its deadline',
  throughputWindowMs: 'tasks that wait this long without any being started are a finding',
  remindFirstMs: 'the first reminder comes this long after the last heartbeat',
  remindLastMs: 'the second reminder',
  missedMs: 'the heartbeat counts as missed',
  missedGraceMs: 'and after this long more, nothing new starts',
  weakMaxMs: 'how far weak heartbeats alone can carry, from the last strong one',
  safeRemindFirstMs: 'in safe mode: the first reminder',
  safeRemindLastMs: 'in safe mode: the second reminder',
  unattendedMs: 'in safe mode: after this long everything is stopped',
  wakeGraceMs: 'after the machine slept, the stop and the message to the contact wait this long',
  restartSilenceMs: 'an announced restart is no finding for this long',
  stopGraceMs: 'between SIGTERM and SIGKILL',
  hubStopMs: 'how long the hub has to stop everything before the watchdog does it',
}

/** Keys that are no spans: default, limit, meaning. */
export const KEY_WORDS: Readonly<Record<string, readonly [usual: string, limit: string, means: string]>> = {
  'alerts.channels': ['the file `alerts.log`', '1 to 8', 'where the operator is told; as in hub.yaml'],
  'alerts.zone': ["this machine's", 'IANA name', 'the zone of people who have none of their own'],
  'alerts.quiet': ['none', 'at most 12h', 'local times between which reminders and loud channels wait'],
  'http.port': ['`7301`', '0 to 65535', 'loopback port of `/healthz` and of the stop page; 0: none'],
  'reach.publicUrl': ['none', 'one address', 'the address at which a tunnel or proxy brings the contact to that port'],
  'reach.hosts': ['none', 'at most 16', 'further names that lead there'],
  'reach.trustedProxy': ['`false`', 'true or false', 'whether that proxy says by `X-Forwarded-For` who asks'],
  'engine.socket': ['`/var/run/docker.sock`', 'a path', 'the container engine'],
  missesMax: ['`3`', '1 to 10', 'rounds without an answer before the hub counts as gone'],
  unattendedFrom: ['`safe_mode`', '`safe_mode` or `last_heartbeat`', 'what `unattended` counts from'],
  'heartbeat.due': [
    '`rolling`',
    '`rolling`, or `daily at HH:MM` with up to 6 times',
    '`rolling`: `missed` after the last one; daily: the first of these local times at least 8 h after it',
  ],
  'operator.name': ['none', 'a text', 'the name by which the contact knows the operator'],
  'operator.phone': ['none', 'a text', 'the number that the contact calls'],
  'operator.zone': ['`alerts.zone`', 'IANA name', 'the zone of their times'],
  'contact.name': ['none', 'a text', 'the second person; only together with `contact.channels`'],
  'contact.channels': ['none', '1 to 8', 'how they are told; a file does not count'],
  'contact.language': ['`en`', '`en` or `de`', 'the language of the messages'],
  'contact.lastResort': [
    'a sentence about switching the machine off',
    'a text',
    'what to do when the card does not help',
  ],
  'contact.zone': ['`alerts.zone`', 'IANA name', 'the zone of their times'],
  'contact.quiet': ['none', 'at most 12h', 'local times between which they are not woken unless it is critical'],
  'away.workMax': ['`0s`', 'at most 72h', 'longest `hub away --keep-working`; 0s refuses it'],
  'outside.url': [
    'none',
    'one address',
    'pinged after each round that went well, so that somebody outside notices its end',
  ],
  'outside.local': ['none', '`host:port`', 'that address is on this machine or in a private network'],
}
