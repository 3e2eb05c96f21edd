/**
 * The watchdog process: `node watchdog/main.ts --home DIR [--init]`. Builds its parts in order and runs the rounds.
 * It never exits on one bad round; it exits on a signal, on `POST /v1/exit`, and when it cannot start (1, with what to do).
 */
import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import path from 'node:path'
import pino from 'pino'
import { createActs } from './act/act.ts'
import { openState, type StateFile } from './act/state-file.ts'
import { type Clock, createSystemClock } from './base/clock.ts'
import { type Paths, pathsOf, privateFolder, readInstance, readKey, StartError } from './base/home.ts'
import { requirePlace } from './base/home-place.ts'
import { createLogSink, isSamePlace } from './base/log-sink.ts'
import { createNotifier } from './base/notify.ts'
import { startAgainOnce } from './base/start-again.ts'
import { leftOutOf, startClean } from './base/start-clean.ts'
import { staleMsOf } from './config/config.ts'
import { loadConfig } from './config/file.ts'
import { openContactEntrance } from './door/contact.ts'
import { openDoors } from './door/door.ts'
import { createEngine } from './observe/engine.ts'
import { createHubLine } from './observe/hub-line.ts'
import { createObserve } from './observe/observe.ts'
import { escapeOdd } from './tell/alert-file.ts'
import { resolveHost } from './tell/channels/outward.ts'
import { createAlerting } from './tell/tell.ts'
import { initHome, stateAtStart } from './watch/first-state.ts'
import { keepLine, startLeaseLoop } from './watch/lease-loop.ts'
import { createWatch } from './watch/watch.ts'

function readArguments(words: readonly string[], env: NodeJS.ProcessEnv): { home: string; init: boolean } {
  let home = env.HUB_HOME ?? ''
  let init = false
  for (let at = 0; at < words.length; at += 1) {
    if (words[at] === '--init') init = true
    else if (words[at] === '--home' && words[at + 1] !== undefined) home = words[++at] ?? ''
    else throw new StartError(`unknown argument ${words[at]}; usage: node watchdog/main.ts --home DIR [--init]`)
  }
  if (home === '') throw new StartError('no home given; usage: node watchdog/main.ts --home DIR [--init]')
  return { home: path.resolve(home), init }
}

/**
 * The log, on standard error; the watch never waits for it and never fails by it. It also takes what Node
 * itself would write there, which may wait for a reader, and opens the log file again at a hang-up.
 */
function openLog(paths: Paths, instance: string, clock: Clock): { log: pino.Logger; say: (line: string) => void } {
  const base = { part: 'watchdog', instance }
  const tellLost = (lost: number, why: string) =>
    `${JSON.stringify({ level: 40, time: clock.read().wallMs, ...base, lost, why, msg: 'lines of this log could not be written and are lost' })}\n`
  const sink = createLogSink({ fd: 2, own: paths.log, tellLost }, { clock })
  const out = isSamePlace(1, 2) ? sink : createLogSink({ fd: 1, tellLost }, { clock })
  const log = pino({ base }, { write: (line: string) => sink.write(escapeOdd(line)) })
  process.on('SIGHUP', () => {
    for (const each of [sink, out]) each.reopen()
    log.info({}, 'SIGHUP: if the log is a file, it was opened again')
  })
  process.on('uncaughtException', (error) =>
    log.error({ reason: error.stack }, 'uncaught error; the watchdog keeps running'),
  )
  process.on('unhandledRejection', (error) =>
    log.error({ reason: String(error) }, 'unhandled rejection; the watchdog keeps running'),
  )
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => log.warn({ name, reason: message }, 'a warning from Node'))
  process.on('exit', sink.flush)
  return { log, say: out.write }
}

/** Logs what people should know about this start. */
function tellStart(log: pino.Logger, note: string | undefined, file: StateFile): void {
  const leftOut = leftOutOf(process.env)
  if (leftOut.length > 0)
    log.warn({ variables: leftOut }, 'variables that would weaken this process were left out of its environment')
  if (note !== undefined) log.warn({}, note)
  if (file.found === null) log.warn({ kept: file.quarantined }, 'the state was unreadable; starting in safe mode')
}

/** Repeats the round after an interval, or at once if the round says so or somebody wakes it, until the exit. */
function createRhythm(intervalMs: number, clock: Clock) {
  let ending = false
  let again = false
  let wakeUp = () => {}
  return {
    exit() {
      ending = true
      wakeUp()
    },
    wake() {
      again = true
      wakeUp()
    },
    async repeat(round: () => Promise<boolean>): Promise<void> {
      while (!ending) {
        again = false
        const startedBootMs = clock.read().bootMs
        const follow = await round()
        if (ending || follow || again) continue
        const restMs = intervalMs - (clock.read().bootMs - startedBootMs)
        await new Promise<void>((resolve) => {
          const cancel = clock.after(Math.max(10, restMs), resolve)
          wakeUp = () => {
            cancel()
            resolve()
          }
        })
        wakeUp = () => {}
      }
    },
  }
}

async function run(paths: Paths, clock: Clock): Promise<void> {
  const { config, note } = await loadConfig(paths.own, clock.read().wallMs)
  const instance = readInstance(paths.instance)
  const key = readKey(paths.key)
  const file = openState(paths.state, clock.read().wallMs)
  const ordered = stateAtStart(paths, file.found, instance, clock)
  privateFolder(paths.run)

  const { log, say } = openLog(paths, instance, clock)
  tellStart(log, note, file)
  const notifier = createNotifier({ enabled: process.env.NOTIFY_SOCKET !== undefined }, clock)
  const engine = createEngine({ socketPath: config.engineSocket, instance, timeoutMs: config.engineTimeoutMs }, clock)
  const hub = keepLine(
    createHubLine({ socketPath: paths.hubSocket, key, instance, timeoutMs: config.leaseTimeoutMs }, clock),
    clock,
  )
  const observe = createObserve(
    { ledger: paths.ledger, checkpointKey: paths.checkpointKey, key, instance },
    { clock, engine, hub },
  )
  let workedBootMs = clock.read().bootMs
  const onWork = () => {
    workedBootMs = clock.read().bootMs
    notifier.alive()
  }
  const acts = createActs(config, { clock, engine, hub, onWork })
  const alerting = createAlerting(
    { alerts: paths.alerts, outbox: paths.outbox, secrets: paths.secrets, instance, config },
    { clock, resolve: resolveHost, env: process.env, log },
  )
  const { alerts, alertTest, judgedWell } = alerting
  const first = alerts.recover(ordered)
  // The contact's side needs the watch, and the watch tells what that side has found.
  let foundAtContact: ReturnType<typeof openContactEntrance>['own'] = () => []
  const own = () => [...alerts.own(), ...foundAtContact()]
  const watch = createWatch(
    { config, evidence: paths.evidence, checkpointKey: paths.checkpointKey, first },
    { clock, file, observe, acts, alerts: { ...alerts, own }, log, judgedWell },
  )
  const shown = { ...watch, status: () => ({ ...watch.status(), alerting: alerting.status() }) }

  const { exit, wake, repeat } = createRhythm(config.intervalMs, clock)
  const contact = openContactEntrance({ paths, config, instance }, { clock, engine, watch, log, random: randomBytes })
  foundAtContact = contact.own
  const staleMs = staleMsOf(config)
  const doors = await openDoors(
    { socket: paths.socket, port: config.port, staleMs },
    { watch: shown, alertTest, wake, exit, contact: contact.side, stop: contact.stop },
  )
  // The epoch is on disk before the first lease carries it: an older watchdog is fenced off from then on (T91).
  file.save(first)
  try {
    writeFileSync(paths.pid, `${process.pid}\n`, { mode: 0o600 })
  } catch (error) {
    // On a full disk the watch goes on without it: everything else is written in place.
    log.warn({ reason: (error as Error).message }, 'the process id could not be written')
  }
  process.on('SIGTERM', exit)
  process.on('SIGINT', exit)
  say(`${JSON.stringify({ ready: true, socket: paths.socket, port: doors.port })}\n`)
  // Written now and not at exit, which a kill would skip: the next start then need not compile.
  flushCompileCache()
  notifier.ready()
  const endLeases = startLeaseLoop(
    { intervalMs: config.intervalMs, stuckMs: 2 * staleMs },
    {
      clock,
      sentAtMs: hub.sentAtMs,
      quietMs: () => Math.min(clock.read().bootMs - workedBootMs, watch.roundAgeMs() ?? Number.POSITIVE_INFINITY),
      renew: () => watch.renew(hub.lease),
    },
  )

  await repeat(async () => {
    const follow = await watch.round()
    notifier.alive()
    return follow
  })
  notifier.stopping()
  endLeases()
  // A last look: only here can `hub down` be seen to have left nothing behind, which is what pauses the presence clock.
  await watch.round()
  log.info({}, 'the watchdog ends')
  doors.close()
  rmSync(paths.pid, { force: true })
  file.close()
  process.exit(0)
}

process.umask(0o077)
try {
  const clock = createSystemClock()
  const wanted = readArguments(process.argv.slice(2), process.env)
  const paths = pathsOf(wanted.home)
  if (!wanted.init) {
    startClean(process.env)
    startAgainOnce(process.env)
  }
  if (wanted.init) process.stdout.write(`${JSON.stringify({ initialised: true, instance: initHome(paths, clock) })}\n`)
  else {
    requirePlace(wanted.home, clock.read().bootId)
    await run(paths, clock)
  }
} catch (error) {
  process.stderr.write(`watchdog: ${error instanceof StartError ? error.message : (error as Error).stack}\n`)
  process.exit(1)
}
