/** Every command: its words, arguments and options, and where it lives. Rooms are loaded only when their command runs. */

import { ALERT_COMMANDS, DEVICE_COMMANDS } from './alert-commands.ts'
import { CONTACT_COMMANDS } from './contact-commands.ts'
import { type Command, paging, yes } from './row.ts'
import { WORK_COMMANDS } from './work-commands.ts'

/** Names of groups, for their help. */
export const GROUPS: Readonly<Record<string, string>> = {
  task: 'tasks: what was asked for, and what came of it',
  session: 'sessions: what runs now, one container each',
  agent: 'agents: the catalogue',
  audit: 'the audit log',
  contact: 'the second person, who can stop everything and do nothing else',
  alert: 'what is not well, and who is told',
  keys: "the keys of agents' tokens",
  device: 'your own devices: webhooks and apps',
  token: 'tokens of automation',
  policy: 'the rules',
  config: 'the configuration',
  approval: 'questions of agents that wait for you',
  artifact: 'what tasks left',
}

export const COMMANDS: readonly Command[] = [
  {
    words: 'init',
    text: 'make a home: keys, database, first heartbeat',
    alone: async () => (await import('./start.ts')).init,
  },
  { words: 'up', text: 'start the hub and its watchdog', load: async () => (await import('./start.ts')).up },
  { words: 'down', text: 'end agents, hub and watchdog', load: async () => (await import('./down.ts')).down },
  {
    words: 'restart',
    text: 'the hub anew; agents go on',
    flags: [['--watchdog', 'the watchdog instead; hub and agents go on']],
    load: async () => (await import('./down.ts')).restart,
  },
  { words: 'serve', text: 'be the hub, in the foreground', load: async () => (await import('./start.ts')).serve },
  {
    words: 'setup',
    text: 'who is told and how, until when you may be away, who else may stop; asks, or by these answers',
    flags: [
      ['--zone <name>', 'your time zone, as Europe/Berlin'],
      ['--mail <address>', 'tell me by mail'],
      ['--mail-server <host:port>', 'through this server'],
      ['--mail-from <address>', 'as whom (the address itself)'],
      ['--mail-user <name>', 'the account there'],
      ['--mail-password-file <file>', 'its password; a copy goes to the secrets of the home'],
      ['--push <url>', 'tell me by push, a topic as ntfy has it'],
      ['--push-token-file <file>', 'its token'],
      ['--webhook <url>', 'tell a program of mine'],
      ['--webhook-secret-file <file>', 'what signs it'],
      ['--heartbeat <due>', 'rolling, or "daily at 09:00"'],
      ['--operator <name>', 'you, as the contact knows you'],
      ['--contact <name>', 'the person who is told when you are away'],
      ['--contact-mail <address>', 'their address, through the same server'],
      ['--card <file>', "make the contact's card, a page to print"],
      ['--ping <url>', 'a watch outside that expects a ping'],
      ['--systemd', 'install the units (as root)'],
      ['--rehearse', 'hold a drill at the end'],
      ['--arrived', 'what was sent has arrived: tests need no further word'],
    ],
    load: async () => (await import('./setup.ts')).setup,
  },
  {
    words: 'config check',
    args: '[file]',
    text: "judge hub.yaml and the watchdog's file, or one meant for it; changes nothing",
    flags: [['--watchdog', "the watchdog's alone"]],
    alone: async () => (await import('./judge.ts')).configCheck,
  },
  {
    words: 'status',
    text: 'one screen: is it well, what to do, until when',
    load: async () => (await import('./status.ts')).status,
  },
  ...WORK_COMMANDS,
  {
    words: 'heartbeat',
    text: 'say that you are there; works with the hub dead',
    flags: [['--note <text>', 'goes into the audit log']],
    load: async () => (await import('./presence.ts')).heartbeat,
  },
  {
    words: 'away',
    text: 'plan an absence: quiet until then, nothing new starts',
    flags: [
      ['--until <when>', 'back then: 3d, 2026-12-01, "fri 18:00"; at most 21 days'],
      ['--note <text>', 'for you and your contact'],
      ['--keep-working', 'let agents go on; bounded by away.workMaxMs of the watchdog'],
    ],
    load: async () => (await import('./absence.ts')).away,
  },
  {
    words: 'back',
    text: 'end a planned absence; counts as a heartbeat',
    flags: [['--note <text>', 'goes into the log']],
    load: async () => (await import('./absence.ts')).back,
  },
  {
    words: 'safe-mode',
    text: 'let nothing new start',
    flags: [['--reason <text>', 'goes into the audit log']],
    load: async () => (await import('./presence.ts')).safeMode,
  },
  {
    words: 'resume',
    text: 'end what you asked to be safe',
    flags: [
      ['--alert <id>', 'after a critical alert: that you have dealt with this one'],
      ['--accept-head <hash>', 'after a witness mismatch: the audit head you accept'],
    ],
    load: async () => (await import('./presence.ts')).resume,
  },
  {
    words: 'shutdown',
    text: 'stop every agent and end the hub; the watchdog stays',
    flags: [
      ['--drain', 'let sessions work to their end first'],
      ['--emergency', 'if hub and watchdog are dead, stop the containers from here'],
      ['--card <file>', "by the backup contact's card; any account may"],
      ['--dry-run', 'only say what would stop'],
      yes,
    ],
    load: async () => (await import('./stop.ts')).shutdown,
  },
  ...CONTACT_COMMANDS,
  {
    words: 'drill',
    text: 'prove on a canary that everything can be stopped, and that alerts arrive',
    flags: [['--with-contact', 'send the backup contact a rehearsal too, by day']],
    load: async () => (await import('./drill.ts')).drill,
  },
  {
    words: 'audit list',
    text: 'list records',
    flags: [
      ['--action <name>', 'as task.submitted, or the operation: task.submit'],
      ['--outcome <what>', 'ok, refused, failed'],
      ...paging,
    ],
    load: async () => (await import('./records.ts')).auditList,
  },
  {
    words: 'audit verify',
    text: 'check the whole chain, or an export of it without the hub',
    flags: [
      ['--file <file>', 'an export, or a sealed month (.gz); no hub and no home needed'],
      ['--key <file>', "the checkpoints' public key (keys/checkpoint.pub of the home)"],
      ['--head <hash>', 'a head kept elsewhere, which has to stand in the export'],
    ],
    load: async () => (await import('./records.ts')).auditVerify,
  },
  {
    words: 'audit export',
    text: 'every record with the signed heads, as JSON lines',
    flags: [['--out <file>', 'write it there (stdout)']],
    load: async () => (await import('./audit-file.ts')).auditExport,
  },
  {
    words: 'approval list',
    text: 'questions that wait for you',
    flags: [['--all', 'answered and expired ones too']],
    load: async () => (await import('./approvals.ts')).approvalList,
  },
  {
    words: 'approve',
    args: '<id>',
    text: 'say yes to a question',
    flags: [['--text <text>', 'what to tell the agent']],
    load: async () => (await import('./approvals.ts')).approve,
  },
  {
    words: 'reject',
    args: '<id>',
    text: 'say no to a question',
    flags: [['--text <text>', 'what to tell the agent']],
    load: async () => (await import('./approvals.ts')).reject,
  },
  {
    words: 'policy status',
    text: 'which rules are in force',
    load: async () => (await import('./records.ts')).policyStatus,
  },
  {
    words: 'policy check',
    args: '[file]',
    text: 'judge policy/data.json, or a file meant for it; changes nothing',
    alone: async () => (await import('./judge.ts')).policyCheck,
  },
  {
    words: 'policy reload',
    text: "read the home's policy/data.json again",
    load: async () => (await import('./records.ts')).policyReload,
  },
  {
    words: 'keys list',
    text: "which keys sign and verify agents' tokens",
    load: async () => (await import('./keys.ts')).list,
  },
  {
    words: 'keys rotate',
    text: 'sign with a new key; the one before verifies for 5 min 30 s',
    load: async () => (await import('./keys.ts')).rotate,
  },
  {
    words: 'keys renew',
    text: 'replace lost or damaged keys while the hub is down; open tokens end',
    alone: async () => (await import('./start.ts')).renewKeys,
  },
  ...ALERT_COMMANDS,
  ...DEVICE_COMMANDS,
  {
    words: 'backup',
    text: 'a whole copy of the home, while the hub runs',
    flags: [['--out <dir>', 'put it there (HOME/backups)']],
    load: async () => (await import('./backup.ts')).backup,
  },
  {
    words: 'restore',
    args: '<backup>',
    text: 'make a home of a backup: another instance, safe, every task held',
    alone: async () => (await import('./start.ts')).restore,
  },
  {
    words: 'adopt',
    args: '<moved|copy>',
    text: 'a home that is elsewhere than it says: it was moved, or it is a copy and becomes another hub',
    alone: async () => (await import('./start.ts')).adopt,
  },
  {
    words: 'prune',
    text: 'delete what is finished and older than `retention` in hub.yaml allows',
    flags: [
      ['--dry-run', 'only say how much would go'],
      ['--older-than <span>', 'tasks, artifacts and alerts older than this, as in 7d; at least 1d'],
    ],
    load: async () => (await import('./prune.ts')).prune,
  },
  {
    words: 'undo-update',
    text: 'put back the database from before the last update, while the hub is down; it comes up safe, every task held',
    alone: async () => (await import('./start.ts')).undoUpdate,
  },
  {
    words: 'doctor',
    text: 'what is not in order, and what mends it',
    load: async () => (await import('./records.ts')).doctor,
  },
  {
    words: 'artifact list',
    text: 'list artifacts',
    flags: [['--task <task>', 'of this task (the newest of all)'], ['--quarantined', 'what is withheld'], ...paging],
    load: async () => (await import('./outputs.ts')).artifactList,
  },
  {
    words: 'artifact get',
    args: '<sha256>',
    text: 'its bytes, to stdout or a file',
    flags: [
      ['--out <file>', 'write it there'],
      ['--quarantined', 'although it is withheld'],
    ],
    load: async () => (await import('./outputs.ts')).artifactGet,
  },
  {
    words: 'events',
    text: 'what happened since the hub started',
    flags: [
      ['--follow', 'go on until Ctrl-C'],
      ['--since <sequence>', 'only later ones'],
      ['--task <task>', 'only of this task'],
    ],
    load: async () => (await import('./outputs.ts')).events,
  },
]
