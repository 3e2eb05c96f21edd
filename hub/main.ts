/** The hub's process: `node hub/main.ts serve|init|doctor --home DIR`. Configuration, build, signals, exit code. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ADOPTED_AS, type AdoptedAs, adoptHome } from './assembly/adopt.ts'
import { cronSchedule } from './assembly/calendar.ts'
import { judgeHome } from './assembly/home-check.ts'
import { requireFileSystem } from './assembly/home-file-system.ts'
import { commitOfFile, initHome } from './assembly/init.ts'
import { forgetLastEnd, keepLastEnd, lastEnd } from './assembly/last-end.ts'
import { requirePlace, watchPlace } from './assembly/place.ts'
import { renewKeys } from './assembly/renew-keys.ts'
import { restoreHome } from './assembly/restore.ts'
import { scrubStartEnvironment, takeSecrets } from './assembly/secret-environment.ts'
import { undoUpdate } from './assembly/undo-update.ts'
import { openUpToDate, type Progress } from './assembly/upgrade.ts'
import { type Clock, createSystemClock } from './base/clock.ts'
import { diskProblem } from './base/disk-words.ts'
import { HubError, toHubError } from './base/errors.ts'
import { createLogSink, isSamePlace } from './base/log-sink.ts'
import { createLoop } from './base/loop.ts'
import { createNotifier, type Notifier } from './base/notify.ts'
import { droppedOf } from './base/passed-on.ts'
import { systemRandom } from './base/random.ts'
import { startAgainOnce } from './base/start-again.ts'
import { keepMemoryIn, startClean } from './base/start-clean.ts'
import { keepDown } from './base/stay-down.ts'
import { createLog, type Log, type LogLevel } from './base/telemetry.ts'
import { takeConfig } from './config.ts'
import { readKeys } from './guard/identity/keys.ts'
import { createHub, type Hub } from './hub.ts'
import { createEngine } from './work/sandbox/engine.ts'
import { readHostFacts } from './work/sandbox/host.ts'
import { requireFreeUsers } from './work/sandbox/host-accounts.ts'

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))
const { version } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as { version: string }

const COMMANDS = ['serve', 'init', 'restore', 'renew-keys', 'undo-update', 'doctor', 'adopt'] as const
const isCommand = (word: string | undefined): word is (typeof COMMANDS)[number] =>
  COMMANDS.some((each) => each === word)

function readArguments(words: readonly string[]): {
  command: (typeof COMMANDS)[number]
  home: string
  from: string
  as: AdoptedAs
} {
  const [command, ...rest] = words
  const usage = () =>
    new HubError(
      'config_invalid',
      'usage: node hub/main.ts serve|init|renew-keys|undo-update|doctor [--home DIR], restore --from DIR [--home DIR], or adopt --as moved|copy [--home DIR]',
    )
  if (!isCommand(command)) throw usage()
  const given: Record<string, string> = {}
  for (let at = 0; at < rest.length; at += 2) {
    const [flag = '', value] = [rest[at], rest[at + 1]]
    const own = { restore: '--from', adopt: '--as' }[command as string]
    if (!(flag === '--home' || flag === own) || value === undefined) throw usage()
    given[flag] = value
  }
  if (command === 'restore' && given['--from'] === undefined) throw usage()
  const as = ADOPTED_AS.find((each) => each === given['--as'])
  if (command === 'adopt' && as === undefined) throw usage()
  const home = given['--home'] ?? process.env.HUB_HOME ?? join(homedir(), '.hub')
  return { command, home: resolve(home), from: resolve(given['--from'] ?? '.'), as: as ?? 'moved' }
}

function initWatchdog(home: string): void {
  const done = spawnSync(process.execPath, [join(CHECKOUT, 'watchdog', 'main.ts'), '--home', home, '--init'], {
    encoding: 'utf8',
  })
  if (done.status !== 0)
    throw new HubError('config_invalid', `the watchdog could not be initialised: ${done.stderr.trim()}`)
}

/**
 * A signal is as `hub restart`, since an upgrade sends the same: containers are left to whatever starts the hub again, and nothing keeps it
 * from being started. Stopping agents is `hub shutdown`, and one that is under way is not cut by a first signal; by a second it is.
 */
/** Answers which signal was heard, for who is told how the hub ended. */
function onSignals(hub: Hub, log: Log, ended: (how: string) => void): () => string | undefined {
  let count = 0
  let last: string | undefined
  const heard = async (signal: string) => {
    count += 1
    last = signal
    const how = count > 1 ? 'restart' : await hub.leave()
    log.info(
      { signal },
      how === undefined ? 'a stop is under way and ends the hub; a second signal ends it now' : 'told to end',
    )
    if (how !== undefined) ended(how)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void heard(signal))
  return () => last
}

/** A third of the time after which the unit counts as hung. */
const FEED_MS = 30_000
const SAY_EVERY_MS = 1000
/** As long as the unit gives a start (TimeoutStartSec). */
const EXTEND_MS = 180_000
/** How often the hub looks whether its home is still where it was. */
const LOOK_AROUND_MS = 10_000

/**
 * The log of this process, on what it was given as standard error; whatever becomes of that, nothing of the hub waits for it or fails by it.
 * Also what else would be written there by Node itself, which may wait for a reader, and the hang-up, which opens a log file anew.
 */
function openLog(home: string, level: LogLevel, clock: Clock): { log: Log; say: (line: string) => void } {
  const tellLost = (lost: number, why: string) =>
    `${JSON.stringify({ level: 40, time: new Date(clock.wallMs()).toISOString(), lost, why, msg: 'lines of this log could not be written and are lost' })}\n`
  const own = join(home, 'logs', 'hub.log')
  const sink = createLogSink({ fd: 2, own, tellLost }, { clock })
  const out = isSamePlace(1, 2) ? sink : createLogSink({ fd: 1, tellLost }, { clock })
  const log = createLog(level, sink)
  process.on('SIGHUP', () => {
    for (const each of [sink, out]) each.reopen()
    log.info('SIGHUP: the log goes on, in a file opened anew where it is one')
  })
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => log.warn({ name, reason: message }, 'a warning of Node'))
  process.on('uncaughtException', (thrown) => {
    log.fatal({ reason: toHubError(thrown).reason, stack: thrown.stack }, 'an error nobody caught; the hub ends')
    process.exit(1)
  })
  process.on('exit', sink.flush)
  return { log, say: out.write }
}

/** A start that takes long says so, once a second to `hub up` and to a service manager: each word gives it as long again (fault B2). */
function tellProgress(clock: Clock, say: (line: string) => void, notifier: Notifier): (progress: Progress) => void {
  let saidMs = Number.NEGATIVE_INFINITY
  return ({ what, done, of }) => {
    if (clock.monotonicMs() - saidMs < SAY_EVERY_MS) return
    saidMs = clock.monotonicMs()
    say(`${JSON.stringify({ starting: what, done, of })}\n`)
    notifier.say([`EXTEND_TIMEOUT_USEC=${EXTEND_MS * 1000}`])
  }
}

/** Runs the hub until it is told to end; answers how it ended. */
async function serve(home: string, secretsFromEnvironment: Map<string, Buffer>, isScrubbed: boolean): Promise<string> {
  if (existsSync(home)) await requireFileSystem(home)
  const { instance, notes } = judgeHome(home)
  const clock = createSystemClock()
  requirePlace(home, clock.bootId)
  const { config, note } = takeConfig(home, clock.wallMs())
  if (note !== undefined) notes.push(note)
  const { log, say } = openLog(home, config.logLevel, clock)
  for (const note of notes) log.warn(note)
  const leftOut = droppedOf(process.env)
  if (leftOut.length > 0)
    log.warn({ variables: leftOut }, 'variables that would weaken this process were left out of its environment')
  if (!isScrubbed)
    log.warn(
      'this system still shows the HUB_SECRET_ variables in /proc to this account and root; files do not have that',
    )
  const notifier = createNotifier({ enabled: process.env.NOTIFY_SOCKET !== undefined })
  const store = await openUpToDate(home, { clock, log, onProgress: tellProgress(clock, say, notifier) })
  const { socket, callTimeout, firstUser } = config.engine
  requireFreeUsers(firstUser)
  const engine = createEngine({ socketPath: socket, callMs: callTimeout, firstUser }, { clock })
  let ended: (how: string) => void = () => undefined
  const end = new Promise<string>((settle) => {
    ended = settle
  })
  const hub = createHub(
    {
      home,
      instance,
      version,
      config,
      keys: readKeys(join(home, 'keys')),
      bundleFolder: join(CHECKOUT, 'policies'),
      host: readHostFacts(join(CHECKOUT, 'images', 'agent', 'seccomp.json')),
      uid: process.getuid?.() ?? 0,
      environment: process.env,
      secretsFromEnvironment,
    },
    {
      clock,
      random: systemRandom,
      log,
      store,
      engine,
      commitOf: commitOfFile,
      schedule: cronSchedule,
      onExit: ended,
    },
  )
  const signalled = onSignals(hub, log, ended)
  let gone: string | undefined
  const opened = await hub.start()
  const pidFile = join(home, 'run', 'hub.pid')
  writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 })
  forgetLastEnd(home)
  say(`${JSON.stringify({ ready: true, ...opened, notes })}\n`)
  log.info({ home, version, ...opened }, 'the hub is up')
  // Written now and not at the exit, which a kill would skip: what is in the cache the next start need not compile.
  flushCompileCache()
  notifier.say(['READY=1'], true)
  const feed = createLoop(
    { name: 'service manager', everyMs: FEED_MS, run: () => feedAfter(hub), onFault: sayStill },
    clock,
  )
  async function feedAfter({ selfCheck }: Hub): Promise<void> {
    await selfCheck()
    notifier.say(['WATCHDOG=1'])
  }
  function sayStill(_name: string, thrown: unknown): void {
    log.error(
      { reason: toHubError(thrown).reason, unsaid: notifier.failures() },
      'the service manager is not told that all is well',
    )
  }
  feed.start()
  const lookAround = watchPlace(home)
  const around = createLoop(
    {
      name: 'place',
      everyMs: LOOK_AROUND_MS,
      run() {
        gone = lookAround()
        if (gone !== undefined) ended('misplaced')
      },
      onFault: (_name, thrown) =>
        log.error({ reason: toHubError(thrown).reason }, 'the place of the home is not known'),
    },
    clock,
  )
  around.start()
  const how = await end
  await around.stop()
  log.info({ how }, 'the hub ends')
  notifier.say(['STOPPING=1'], true)
  // What was asked to stay down stays down; a signal, a restart and an emergency leave that to the service manager.
  if ((how === 'shutdown' || how === 'down') && !keepDown(home, 'hub'))
    log.warn('the disk did not take it that the hub shall stay down: a service manager may start it at the next boot')
  await feed.stop()
  const last = lastEnd(how === 'restart' ? (signalled() ?? how) : how, hub.guard.audit, clock.wallMs())
  await hub.stop()
  // What stands in its place now is not this hub's to touch. Agents go on to their time to live, as after any end of a hub.
  if (gone !== undefined)
    throw new HubError(
      'config_invalid',
      `${gone}, so the hub has ended; run hub --home NEWPLACE adopt moved, then hub --home NEWPLACE up`,
    )
  rmSync(pidFile, { force: true })
  keepLastEnd(home, last)
  return how
}

function tellRevokeAnew(what: string, { revokeAnew }: { revokeAnew: readonly string[] }): void {
  const commands = revokeAnew.map((words) => `\`${words}\``).join(', ')
  process.stderr.write(`hub: ${what} is in force again; look through and revoke anew: ${commands}\n`)
}

/** Ends that a service manager must not undo at once: at the next boot, or by `hub up`, the hub answers reads and starts nothing. */
const EXIT_CODES: Readonly<Record<string, number>> = { unattended_stop: 10, emergency_stop: 11 }

/** Exit codes of protocol.md section 7: 1 fault, 2 usage or configuration, 4 unavailable. */
const exitCodeOf = (error: HubError): number =>
  ({
    config_invalid: 2,
    limit_exceeded: 2,
    unsupported_mode: 2,
    conflict: 4,
    store_unavailable: 4,
    engine_unavailable: 4,
    policy_unavailable: 4,
  })[error.code as string] ?? 1

process.umask(0o077)
try {
  if (process.argv[2] === 'serve') {
    startClean(process.env)
    startAgainOnce(process.env)
  } else keepMemoryIn()
  // Before anything else, so that no process this one starts inherits them.
  const secrets = takeSecrets(process.env)
  const isScrubbed = secrets.size === 0 || scrubStartEnvironment()
  let exitCode = 0
  const { command, home, from, as } = readArguments(process.argv.slice(2))
  const clock = createSystemClock()
  if (command === 'init') {
    const made = mkdirSync(home, { recursive: true, mode: 0o700 })
    await requireFileSystem(home).catch((thrown) => {
      if (made !== undefined) rmSync(made, { recursive: true, force: true })
      throw thrown
    })
    if (existsSync(join(home, 'place'))) requirePlace(home, clock.bootId)
    const report = initHome({ home, checkout: CHECKOUT, nowMs: clock.wallMs() }, systemRandom, initWatchdog)
    requirePlace(home, clock.bootId)
    process.stdout.write(`${JSON.stringify(report)}\n`)
  } else if (command === 'adopt') {
    judgeHome(home)
    const report = adoptHome({ home, as }, { clock, random: systemRandom, initWatchdog })
    process.stdout.write(`${JSON.stringify(report)}\n`)
  } else if (command === 'renew-keys')
    process.stdout.write(`${JSON.stringify(renewKeys({ home }, { clock, random: systemRandom }))}\n`)
  else if (command === 'undo-update') {
    const report = undoUpdate({ home }, clock)
    process.stdout.write(`${JSON.stringify(report)}\n`)
    if (report.revokeAnew.length > 0)
      tellRevokeAnew('what was revoked since and cannot be read in the newer database', report)
  } else if (command === 'doctor') {
    const { doctorAlone } = await import('./assembly/doctor-alone.ts')
    const checks = await doctorAlone({ home, bundleFolder: join(CHECKOUT, 'policies') }, { clock })
    process.stdout.write(`${JSON.stringify({ checks })}\n`)
  } else if (command === 'restore') {
    const report = await restoreHome({ from, home }, { clock, random: systemRandom, initWatchdog })
    process.stdout.write(`${JSON.stringify(report)}\n`)
    tellRevokeAnew('what was revoked after the backup', report)
  } else exitCode = EXIT_CODES[await serve(home, secrets, isScrubbed)] ?? 0
  process.exit(exitCode)
} catch (thrown) {
  const error = toHubError(diskProblem(thrown))
  // One line, whatever was thrown: it is what `hub up` and a service manager show as the reason.
  const said = error.code === 'internal' ? error.reason : error.message
  process.stderr.write(`hub: ${said.replaceAll(/\s*\n\s*/g, '; ')}\n`)
  process.exit(exitCodeOf(error))
}
