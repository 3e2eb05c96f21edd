/** Every command in one table: its words, arguments, options and module. A module is loaded only when its command runs. */
import { alone, type Command, command, lazy, paging, stop, yes } from './command.ts'
import { AGENTS } from './tables/agents.ts'
import { OUTSIDE } from './tables/outside.ts'
import { SESSIONS } from './tables/sessions.ts'
import { WORK } from './tables/work.ts'

const alerts = lazy(() => import('./looking/alerts.ts'))
const auditFile = lazy(() => import('./looking/audit-file.ts'))
const page = lazy(() => import('./looking/console.ts'))
const audit = lazy(() => import('./looking/audit.ts'))
const diagnosis = lazy(() => import('./looking/doctor.ts'))
const eventFeed = lazy(() => import('./looking/events.ts'))
const status = lazy(() => import('./looking/status.ts'))
const approvals = lazy(() => import('./presence/approvals.ts'))
const presence = lazy(() => import('./presence/presence.ts'))
const backup = lazy(() => import('./setup/backup.ts'))
const config = lazy(() => import('./setup/config.ts'))
const devices = lazy(() => import('./setup/devices.ts'))
const down = lazy(() => import('./setup/down.ts'))
const flags = lazy(() => import('./setup/flags.ts'))
const judge = lazy(() => import('./setup/judge.ts'))
const keys = lazy(() => import('./setup/keys.ts'))
const policy = lazy(() => import('./setup/policy.ts'))
const tried = lazy(() => import('./setup/policy-tried.ts'))
const prune = lazy(() => import('./setup/prune.ts'))
const setup = lazy(() => import('./setup/setup.ts'))
const start = lazy(() => import('./setup/start.ts'))
const cardStop = lazy(() => import('./stopping/card-stop.ts'))
const contact = lazy(() => import('./stopping/contact.ts'))
const drill = lazy(() => import('./stopping/drill.ts'))
const safeMode = lazy(() => import('./stopping/safe-mode.ts'))
const shutdown = lazy(() => import('./stopping/shutdown.ts'))
const artifacts = lazy(() => import('./work/artifacts.ts'))

/** Names of groups, for their help. */
export const GROUPS: Readonly<Record<string, string>> = {
  task: 'tasks: what was asked for, and what came of it',
  session: 'sessions: what runs now, one container each',
  agent: 'agents: the catalogue',
  audit: 'the audit log',
  contact: 'the backup contact, who can stop everything and do nothing else',
  alert: 'alerts: what is wrong, and who is told',
  keys: "the keys of agents' tokens",
  device: 'your own devices: webhooks and apps',
  token: 'tokens for automation',
  policy: 'the rules',
  egress: 'what agents reach outside',
  flag: 'feature flags: what is switched on and off while the hub runs',
  config: 'the configuration',
  approval: 'what waits for you: questions of agents, and acts that the rules ask about',
  artifact: 'artifacts: what tasks made',
  branch: 'branches: what agents changed in your repositories',
  budget: 'money of models: what is spent, reserved and allowed',
  upstream: 'what agents may reach outside',
}

export const COMMANDS: readonly Command[] = [
  alone('init', 'make a home: keys, database, first heartbeat', start('init')),
  command('up', 'start the hub and its watchdog', start('up')),
  stop('down', 'stop agents, hub and watchdog', down('down')),
  command('restart', 'restart the hub; agents keep running', down('restart'), [
    ['--watchdog', 'restart the watchdog instead; hub and agents keep running'],
  ]),
  command('serve', 'run the hub in the foreground', start('serve')),
  command(
    'setup',
    'set up alerts, your heartbeat and your backup contact; asks questions, or takes these options',
    setup('setup'),
    [
      ['--zone <name>', 'your time zone, for example Europe/Berlin'],
      ['--mail <address>', 'tell me by mail'],
      ['--mail-server <host:port>', 'the mail server to use'],
      ['--mail-from <address>', 'the sender (default: your address)'],
      ['--mail-user <name>', 'your account on that server'],
      ['--mail-password-file <file>', "its password, - for stdin; copied into the home's secrets"],
      ['--push <url>', 'tell me by push: the address of an ntfy topic'],
      ['--push-token-file <file>', 'the token of that topic, - for stdin'],
      ['--webhook <url>', 'tell my own program'],
      ['--webhook-secret-file <file>', 'the secret that signs each call, - for stdin'],
      ['--heartbeat <due>', 'when it is due: rolling (24 h after the last one), or "daily at 09:00"'],
      ['--operator <name>', 'your name, as the contact knows you'],
      ['--contact <name>', 'the person who is told when you do not answer'],
      ['--contact-mail <address>', 'their mail address; the same server sends it'],
      ['--card <file>', "write the contact's card to this file, to print"],
      ['--ping <url>', 'an outside service that expects regular pings'],
      ['--systemd', 'install the systemd units (as root)'],
      ['--rehearse', 'run a drill at the end'],
      ['--arrived', 'the test messages have arrived; do not ask'],
    ],
  ),
  alone(
    'config check [file]',
    "check hub.yaml, prices.yaml and the watchdog's file, or a new version of one; changes nothing",
    judge('configCheck'),
    [['--watchdog', "only the watchdog's file"]],
  ),
  command('config show', 'every key: its value, where it comes from, and when a change counts', config('configShow'), [
    ['--changed', 'only what the file sets'],
  ]),
  command('config diff', 'what hub.yaml says and is not in force yet', config('configDiff')),
  command('status', 'one screen: is all well, what must I do, and by when', status('status')),
  ...WORK,
  ...SESSIONS,
  ...AGENTS,
  command('heartbeat', 'say that you are there; works without the hub', presence('heartbeat'), [
    ['--note <text>', 'goes into the audit log'],
  ]),
  command('away', 'plan an absence: no alarms until then, and nothing new starts', presence('away'), [
    ['--until <when>', 'when you will be back: 3d, 2026-12-01, "fri 18:00"; at most 21 days'],
    ['--note <text>', 'for you and your contact'],
    ['--keep-working', "let agents keep working; at most away.workMax of the watchdog's file"],
  ]),
  command('back', 'end a planned absence; counts as a heartbeat', presence('back'), [
    ['--note <text>', 'goes into the audit log'],
  ]),
  stop('safe-mode', 'safe mode: nothing new starts', safeMode('safeMode'), [
    ['--reason <text>', 'goes into the audit log'],
  ]),
  command('resume', 'end the safe mode that you asked for', safeMode('resume'), [
    ['--alert <id>', 'after a critical alert: you have dealt with this one'],
    ['--accept-head <hash>', 'after a witness mismatch: the audit head you accept'],
  ]),
  stop(
    'shutdown',
    'stop every agent and end the hub; the watchdog stays',
    shutdown('shutdown'),
    [
      ['--drain', 'let sessions finish their work first'],
      ['--emergency', 'if hub and watchdog are dead, stop the containers from here'],
      ['--card <file>', "stop with the backup contact's card; any account may do this"],
      ['--dry-run', 'only say what would stop'],
      yes,
    ],
    { card: cardStop('stopByCard') },
  ),
  command(
    'contact card',
    'make the card of the person who may stop everything; the old card stops working',
    contact('card'),
    [
      ['--name <name>', "who gets it (default: contact.name of the watchdog's file)"],
      ['--operator-name <name>', 'whom they call: your name (default: operator.name)'],
      ['--operator-phone <number>', 'your number (default: operator.phone)'],
      ['--last-resort <text>', 'what they may do at the machine if all else fails (default: contact.lastResort)'],
      ['--expires <span>', 'when it ends, as in 365d (default: when you revoke it)'],
      ['--out <file>', 'write it to this file, as an HTML page to print'],
      yes,
    ],
  ),
  command('contact revoke', 'end the card at once; works without the hub', contact('revoke'), [yes]),
  command('contact test', 'send the contact a code, which they read out to you', contact('test')),
  command('contact confirm <code>', 'enter the code that the contact read out', contact('confirm')),
  command('drill', 'prove with a test agent that everything can be stopped and that alerts arrive', drill('drill'), [
    ['--with-contact', 'send the backup contact a rehearsal too, in daytime only'],
  ]),
  command('audit list', 'list records', audit('auditList'), [
    ['--action <name>', 'for example task.submitted, or the operation task.submit'],
    ['--outcome <what>', 'ok, refused, failed'],
    ['--task <task>', 'about a task, and by and about its sessions'],
    ['--tree', 'with --task: of every task below it too'],
    ['--session <session>', 'by and about a session'],
    ['--agent <name>', 'by the sessions of an agent, and about it'],
    ['--decision <id>', 'that name this decision of the rules'],
    ['--since <when>', 'from then on: a span back from now, as in 2h, or an instant, as in 2026-11-30T08:00Z'],
    ['--until <when>', 'before then'],
    ...paging,
  ]),
  command('audit show <seq>', 'one record in full: its decision, its neighbours, its signed head', audit('auditShow')),
  command(
    'audit verify',
    'check the whole chain, or an export of it without the hub',
    audit('auditVerify'),
    [
      ['--file <file>', 'an export, or a sealed month (.gz); needs no hub and no home'],
      ['--key <file>', "the checkpoints' public key (keys/checkpoint.pub of the home)"],
      ['--head <hash>', 'a head that you kept elsewhere; the export must contain it'],
    ],
    { file: auditFile('auditVerifyFile') },
  ),
  command('audit export', 'every record with the signed heads, as JSON lines', auditFile('auditExport'), [
    ['--out <file>', 'write to this file (default: stdout)'],
  ]),
  command('approval list', 'what waits for your answer', approvals('approvalList'), [
    ['--all', 'answered and expired ones too'],
  ]),
  command('approval show <id>', 'one of them, with everything it stands on', approvals('approvalShow')),
  command('approve [id]', 'say yes; without an id, to the only one that waits', approvals('approve'), [
    ['--text <text>', 'what to tell whoever asked'],
  ]),
  command('reject [id]', 'say no; without an id, to the only one that waits', approvals('reject'), [
    ['--text <text>', 'what to tell whoever asked'],
  ]),
  command('policy status', 'which rules are in force', policy('policyStatus')),
  alone(
    'policy check [file]',
    'check the data and the rules in policy/, or a new data.json; changes nothing',
    judge('policyCheck'),
  ),
  command('policy reload', "compile and read the home's policy/ again", policy('policyReload')),
  alone('policy seal', 'compile and sign what is in policy/, without the hub', policy('policySeal'), [
    ['--key <file>', 'your Ed25519 private key, where policy.requireSignature asks for a signature'],
  ]),
  command('policy diff', 'what policy/ would change of the rules in force', tried('policyDiff')),
  command(
    'policy simulate',
    'ask what was asked before of the rules in policy/: what would be answered otherwise',
    tried('policySimulate'),
    [
      ['--since <span>', 'how far back (default: 24h)'],
      ['--most <n>', 'how many questions at most, the newest first (default: 20000)'],
    ],
  ),
  alone('policy test', "run policy/'s own *_test.rego and samples.json", tried('policyTest')),
  command(
    'policy explain [decision]',
    'which rule and which data gave an answer, and what would change it',
    tried('policyExplain'),
    [
      ['--input <file>', 'a made-up question as JSON, as the rules would see it; - for stdin'],
      ['--operation <name>', 'a made-up question of yours, for example task.submit'],
      ['--agent <name>', 'the agent that it is about'],
    ],
  ),
  ...OUTSIDE,
  command('flag list', 'feature flags, the profile in force, and what nobody can switch off', flags('list')),
  command('flag set <name> <value>', 'switch a flag: on, off, or default', flags('set'), [
    ['--emergency <reason>', 'only for a time, with this reason; needed under the profiles production and strict'],
    ['--for <span>', 'how long the emergency holds, 1m to 24h'],
  ]),
  command('keys list', "which keys sign and verify agents' tokens", keys('list')),
  command('keys rotate', 'sign with a new key; the old one is accepted for 5 min 30 s more', keys('rotate')),
  alone(
    'keys renew',
    'replace lost or damaged keys while the hub is down; open tokens become invalid',
    start('renewKeys'),
  ),
  command('alert list', 'list alerts', alerts('alertList'), [['--all', 'resolved ones too']]),
  command('alert test', 'send a test through every channel of hub and watchdog', alerts('alertTest'), [
    ['--channel <name>', 'only this channel of the hub'],
  ]),
  command('console', "print a one-time link to this hub's page", page('openConsole'), [
    ['--rights <list>', 'some of view, heartbeat, approve, stop, resume (default: all)'],
    ['--expires <span>', 'how long the page works, at most 7d (default: 12h)'],
    ['--name <name>', 'its name in `hub device list`'],
    ['--open', 'open it in the browser of this machine'],
  ]),
  command('device add <name>', 'give your phone or program its own secret for calling the hub', devices('deviceAdd'), [
    ['--webhook', 'make an address; a POST to it counts as a weak heartbeat'],
    ['--rights <list>', 'some of view, heartbeat, approve, stop, resume'],
    ['--expires <span>', 'when it ends, as in 90d (default: when you revoke it)'],
  ]),
  command('device list', 'list devices, and when each was last used', devices('deviceList')),
  command('device revoke <name>', 'end it at once', devices('deviceRevoke')),
  command('token create <name>', 'make a bearer token for automation', devices('tokenCreate'), [
    ['--actions <list>', 'what it may do, for example task.submit,task.show'],
    ['--expires <span>', 'when it ends (default: 30d)'],
  ]),
  command('token list', 'list tokens', devices('tokenList')),
  command('token revoke <name>', 'end it at once', devices('tokenRevoke')),
  command('backup', 'copy the home without its secrets, while the hub runs', backup('backup'), [
    ['--out <dir>', 'where to put it (default: HOME/backups)'],
    ['--with-secrets', 'copy the secrets too, in plain text'],
  ]),
  alone(
    'restore <backup>',
    'make a home from a backup: a new instance, in safe mode, every task held',
    start('restore'),
  ),
  alone(
    'adopt <moved|copy>',
    'accept a home that is not where it was made: it was moved, or it is a copy and becomes another hub',
    start('adopt'),
  ),
  command('prune', 'delete what is finished and older than `retention` in hub.yaml', prune('prune'), [
    ['--dry-run', 'only say how much would be deleted'],
    ['--older-than <span>', 'tasks, artifacts and alerts older than this, as in 7d; at least 1d'],
  ]),
  alone(
    'undo-update',
    'while the hub is down, put back the database from before the last update; the hub then starts in safe mode, every task held',
    start('undoUpdate'),
  ),
  command('doctor', 'check everything: what is wrong, and how to fix it', diagnosis('doctor')),
  command('artifact list', 'list artifacts', artifacts('artifactList'), [
    ['--task <task>', 'only of this task (default: all tasks, newest first)'],
    ['--quarantined', 'only withheld ones'],
    ...paging,
  ]),
  command('artifact get <sha256>', 'write its bytes to stdout or a file', artifacts('artifactGet'), [
    ['--out <file>', 'write to this file'],
    ['--quarantined', 'even if it is withheld'],
  ]),
  command('events', 'list what happened since the hub started', eventFeed('events'), [
    ['--follow', 'keep printing until Ctrl-C'],
    ['--since <sequence>', 'only later ones'],
    ['--task <task>', 'only of this task'],
  ]),
]
