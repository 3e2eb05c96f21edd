/** The hub's process: `node hub/main.ts serve|init|doctor --home DIR`. Configuration, build, signals, exit code. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { join, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { placesOf } from './base/card-files.ts'
import { type Clock, createSystemClock } from './base/clock.ts'
import { keepMemoryIn } from './base/core-dumps.ts'
import { diskProblem } from './base/disk-words.ts'
import { deniedLine, judgeDoor } from './base/engine-door.ts'
import { HubError, toHubError } from './base/errors.ts'
import { requireOwnFiles } from './base/lines-files.ts'
import { createLogSink, isSamePlace } from './base/log-sink.ts'
import { createLoop } from './base/loop.ts'
import { createNotifier, type Notifier } from './base/notify.ts'
import { droppedOf } from './base/passed-on.ts'
import { systemRandom } from './base/random.ts'
import { createRedaction, type Redaction } from './base/redaction.ts'
import { startAgainOnce } from './base/start-again.ts'
import { startClean } from './base/start-clean.ts'
import { keepDown } from './base/stay-down.ts'
import { createLog, type Log } from './base/telemetry.ts'
import { type Config, readConfig, takeConfig } from './config.ts'
import { readKeys } from './guard/identity/keys.ts'
import { ADOPTED_AS, type AdoptedAs, adoptHome } from './home/adopt.ts'
import { requireFileSystem } from './home/file-system.ts'
import { judgeHome } from './home/home-check.ts'
import { commitOfFiles, initHome } from './home/init.ts'
import { forgetLastEnd, keepLastEnd, lastEnd } from './home/last-end.ts'
import { requirePlace, watchPlace } from './home/place.ts'
import { renewKeys } from './home/renew-keys.ts'
import { restoreHome } from './home/restore.ts'
import { scrubStartEnvironment, takeSecrets } from './home/secret-environment.ts'
import { undoUpdate } from './home/undo-update.ts'
import type { Hub } from './hub.ts'
import { openUpToDate, type Progress } from './store/upgrade.ts'
import { readHostFacts } from './work/sandbox/host.ts'
import { requireFreeUsers } from './work/sandbox/host-accounts.ts'
import { createSecrets } from './work/sandbox/secrets.ts'

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url))
const { version } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as { version: string }

const COMMANDS = ['serve', 'init', 'restore', 'renew-keys', 'undo-update', 'doctor', 'adopt'] as const
/**
 * What only `serve` needs. It is most of all that there is to load, and who makes or repairs a home should not wait for it.
 */
const loadServing = async () => ({
  ...(await import('./hub.ts')),
  ...(await import('./work/sandbox/engine.ts')),
  ...(await import('./guard/audit/nightly-look.ts')),
  ...(await import('./observe/tracing.ts')),
})
type Serving = Awaited<ReturnType<typeof loadServing>>

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
 * A signal acts like `hub restart`, because an upgrade sends the same signal: containers go on, and the next hub takes them over. To stop
 * agents there is `hub shutdown`; a first signal does not cut a stop that is under way, a second one does. Answers which signal came last.
 */
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

const isWithin = (folder: string, path: string) => path.startsWith(`${folder}${sep}`)

interface OwnLog {
  log: Log
  say: (line: string) => void
  /** Throws `config_invalid` if the file cannot be opened. */
  useLog: (file: Config['log'], isTrial?: boolean) => void
}

/**
 * The log of this process, on its standard error; the hub never waits for it and never fails by it. It also takes Node's own warnings and
 * errors, whose writing may wait for a reader, and opens the log file again at a hang-up.
 */
function openLog(home: string, config: Pick<Config, 'log' | 'logLevel'>, clock: Clock, { text }: Redaction): OwnLog {
  const tellLost = (lost: number, why: string) =>
    `${JSON.stringify({ level: 40, time: new Date(clock.wallMs()).toISOString(), lost, why, msg: 'lines of this log could not be written and are lost' })}\n`
  const own = join(home, 'logs', 'hub.log')
  const sink = createLogSink({ fd: 2, own, tellLost }, { clock })
  const out = isSamePlace(1, 2) ? sink : createLogSink({ fd: 1, tellLost }, { clock })
  const log = createLog(config.logLevel, sink, text)
  const useLog = ({ file, maxSize, keep }: Config['log'], isTrial = false) => {
    const path = file === undefined ? undefined : resolve(home, file)
    if (path !== undefined && isWithin(home, path) && !isWithin(join(home, 'logs'), path))
      throw new HubError('config_invalid', 'log.file: within the home it must be below logs/')
    try {
      if (isTrial) sink.tryOpen(path)
      else sink.use({ file: path, maxSize, keep })
    } catch (thrown) {
      throw new HubError('config_invalid', `log.file: ${toHubError(diskProblem(thrown)).reason}`)
    }
  }
  useLog(config.log)
  process.on('SIGHUP', () => {
    for (const each of [sink, out]) each.reopen()
    log.info('SIGHUP: the log file was opened again')
  })
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => log.warn({ name, reason: message }, 'a warning of Node'))
  process.on('uncaughtException', (thrown) => {
    log.fatal({ reason: toHubError(thrown).reason, stack: thrown.stack }, 'an uncaught error; the hub ends')
    process.exit(1)
  })
  process.on('exit', sink.flush)
  return { log, say: out.write, useLog }
}

/** A long start reports its progress once a second to `hub up` and to the service manager: each report extends the time allowed (fault B2). */
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
async function serve(
  home: string,
  secretsFromEnvironment: Map<string, Buffer>,
  { isScrubbed, redaction }: { isScrubbed: boolean; redaction: Redaction },
  { createHub, createEngine, cronSchedule, openTracing }: Serving,
): Promise<string> {
  if (existsSync(home)) await requireFileSystem(home)
  const { instance, notes } = judgeHome(home)
  const clock = createSystemClock()
  requirePlace(home, clock.bootId)
  const { config, text, note } = takeConfig(home, clock.wallMs())
  if (note !== undefined) notes.push(note)
  requireOwnFiles(config, home)
  const { log, say, useLog } = openLog(home, config, clock, redaction)
  const denied = judgeDoor(config.engine.socket)
  if (denied !== undefined) notes.push(deniedLine(denied))
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
  const tracing = await openTracing(config.tracing, { clock, instance, version, log })
  let ended: (how: string) => void = () => undefined
  const end = new Promise<string>((settle) => {
    ended = settle
  })
  const hub = createHub(
    {
      home,
      instance,
      version,
      settings: { config, text },
      keys: readKeys(join(home, 'keys')),
      bundleFolder: join(CHECKOUT, 'policies'),
      cards: placesOf(home, CHECKOUT),
      host: readHostFacts(join(CHECKOUT, 'images', 'agent')),
      uid: process.getuid?.() ?? 0,
      environment: process.env,
      secretsFromEnvironment,
    },
    {
      clock,
      random: systemRandom,
      log,
      redaction,
      store,
      engine,
      tracing,
      commitOf: commitOfFiles,
      schedule: cronSchedule,
      useLog,
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
  // Written now and not at exit, which a kill would skip: the next start then need not compile.
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
      'the service manager was not told that all is well',
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
        log.error({ reason: toHubError(thrown).reason }, 'could not check whether the home is still in its place'),
    },
    clock,
  )
  around.start()
  const how = await end
  await around.stop()
  log.info({ how }, 'the hub ends')
  notifier.say(['STOPPING=1'], true)
  // After shutdown and down the hub stays down; after a signal, a restart or an emergency stop the service manager decides.
  if ((how === 'shutdown' || how === 'down') && !keepDown(home, 'hub'))
    log.warn('could not record that the hub should stay down: a service manager may start it at the next boot')
  await feed.stop()
  const last = lastEnd(how === 'restart' ? (signalled() ?? how) : how, hub.guard.audit, clock.wallMs())
  await hub.stop()
  // Whatever is there now is not this hub's to touch. Agents go on to their time to live, as after any end of a hub.
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
  process.stderr.write(`hub: ${what} is in force again; look through it and revoke it again: ${commands}\n`)
}

/** Ends that a service manager must not undo at once. After the next boot, or `hub up`, the hub answers reads and starts nothing. */
const EXIT_CODES: Readonly<Record<string, number>> = { unattended_stop: 10, emergency_stop: 11 }

/** Exit codes of docs/protocol.md 7: 1 fault, 2 usage or configuration, 4 unavailable. */
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

/** Known before anything is said: this process may end with what somebody wrote in a file. */
const redaction = createRedaction()
process.umask(0o077)
try {
  let serving: Serving | undefined
  if (process.argv[2] === 'serve') {
    startClean(process.env)
    // First, because this process starts again by what was loaded.
    serving = await loadServing()
    startAgainOnce(process.env)
  } else keepMemoryIn()
  // Before anything else, so that no child process inherits them.
  const secrets = takeSecrets(process.env)
  for (const [name, value] of secrets) redaction.know(name, value)
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
    const { doctorAlone } = await import('./edge/doctor/alone.ts')
    const checks = await doctorAlone(
      { home, bundleFolder: join(CHECKOUT, 'policies'), cards: placesOf(home, CHECKOUT) },
      { clock, readConfig },
    )
    // This process has not read them yet, and a row may quote a file or an answer.
    createSecrets({
      ...{ folder: join(home, 'secrets'), uid: process.getuid?.() ?? 0, fromEnvironment: secrets },
      know: redaction.know,
    }).learn()
    process.stdout.write(`${JSON.stringify({ checks: redaction.value(checks) })}\n`)
  } else if (command === 'restore') {
    const report = await restoreHome({ from, home }, { clock, random: systemRandom, initWatchdog })
    process.stdout.write(`${JSON.stringify(report)}\n`)
    tellRevokeAnew('what was revoked after the backup', report)
  } else
    exitCode = EXIT_CODES[await serve(home, secrets, { isScrubbed, redaction }, serving ?? (await loadServing()))] ?? 0
  process.exit(exitCode)
} catch (thrown) {
  const error = toHubError(diskProblem(thrown))
  // One line, whatever was thrown: `hub up` and a service manager show it as the reason.
  const said = error.code === 'internal' ? error.reason : error.message
  process.stderr.write(`hub: ${redaction.text(said).replaceAll(/\s*\n\s*/g, '; ')}\n`)
  process.exit(exitCodeOf(error))
}
