/**
 * A trial home for walks through every phase: hub and watchdog each reach the engine by a line of their own, spans are short, and what was
 * alerted, started and stopped since a mark can be asked. After each walk it is brought back to normal as an operator would do it.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StopView } from '../../hub/client/answers.ts'
import { pathsOf } from '../../hub/client/cli/home.ts'
import { waitGone } from '../../hub/client/cli/processes.ts'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { watchStrictness } from '../storm/promises.ts'
import { type AgentLine, relayAgentLine } from './agent-line.ts'
import { type EngineProxy, openEngineProxy } from './engine-proxy.ts'
import { ENGINE_SOCKET } from './engine-socket.ts'
import { runHub } from './fake-hub.ts'
import { judgeInvariants } from './invariants.ts'
import { openTrialHome, type TrialHome } from './trial-home.ts'

const HUB_YAML = `shutdownTimeout: 1s
health: { interval: 8s, timeout: 8s, failures: 3 }
limits: { sessions: 3, sessionsPerAgent: 2, delegationDepth: 1, joinWindow: 30s, recycles: 10, questionWait: 0 }`
const WATCHDOG = {
  port: 0,
  intervalMs: 1_000,
  missesMax: 3,
  leaseTimeoutMs: 2_500,
  engineTimeoutMs: 10_000,
  startGraceMs: 10_000,
  orphanAgeMs: 5_000,
  ttlGraceMs: 1_000,
  stopGraceMs: 1_000,
  hubStopMs: 5_000,
  wakeGraceMs: 0,
}
/** The operator has been away for too long the moment the watchdog starts. */
export const MISSED = { remindFirstMs: 10, remindLastMs: 20, missedMs: 30, missedGraceMs: 0 }
export const UNATTENDED = { ...MISSED, safeRemindFirstMs: 10, safeRemindLastMs: 20, unattendedMs: 30 }

export interface PhaseHome extends AsyncDisposable {
  readonly trial: TrialHome
  /** Their own lines to the engine. */
  readonly lines: Readonly<Record<'hub' | 'watchdog', EngineProxy>>
  /** Lines of sessions that began while they are relayed, by session. */
  readonly agentLines: ReadonlyMap<string, AgentLine>
  relayAgents(): void
  /** The watchdog begun anew with these spans beside its own. */
  watchdogWith(spans: Readonly<Record<string, number>>): Promise<void>
  /** Findings the watchdog raised since the mark. */
  raised(): string[]
  conditions(): Promise<string[]>
  /** Straight to the engine. */
  engineCall(method: 'POST' | 'GET', path: string, body?: object): Promise<unknown>
  /** A container with our labels that neither hub nor watchdog made, started; its id. */
  stray(): Promise<string>
  /** `hub shutdown --emergency` as a person types it. */
  emergency(): Promise<StopView & { code: number | null; stderr: string }>
  /** From here on things are counted. */
  mark(): void
  /** The hub is not there: what does not hold of everything until now, a line each. */
  judge(): string[]
  /** As an operator comes back; answers what was not held until they did. */
  backToNormal(): Promise<string[]>
  /** Causes of the hub's own alerts since the mark. */
  hubAlerts(): Promise<string[]>
}

export async function openPhaseHome(): Promise<PhaseHome> {
  const own = await openEngineProxy()
  const trial = await openTrialHome({
    callTimeout: '12s',
    hubYaml: HUB_YAML,
    watchdog: { ...WATCHDOG, engineSocket: own.socket },
  }).catch(async (thrown) => {
    await own.close()
    throw thrown
  })
  const paths = pathsOf(trial.home)
  const lines = { hub: trial.proxy, watchdog: own }
  const strictness = watchStrictness(trial)
  const agentLines = new Map<string, AgentLine>()
  const alertFile = join(trial.home, 'watchdog', 'alerts.log')
  const clock = createSystemClock()
  let [from, fromMs, strays] = [0, Date.now(), 0]
  let spans: Readonly<Record<string, number>> = {}

  const told = () => (existsSync(alertFile) ? readFileSync(alertFile, 'utf8') : '')
  const engineCall = (method: 'POST' | 'GET', path: string, body?: object) =>
    new Promise<unknown>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' }
      const asked = request({ socketPath: ENGINE_SOCKET, method, path, headers }, (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (piece: string) => {
          text += piece
        })
        answer.on('end', () => resolve(text === '' ? {} : JSON.parse(text)))
      })
      asked.on('error', reject).end(body === undefined ? undefined : JSON.stringify(body))
    })

  async function watchdogWith(wanted: Readonly<Record<string, number>>): Promise<void> {
    if (wanted === spans && trial.isUp('watchdog')) return
    spans = wanted
    writeFileSync(
      `${paths.home}/watchdog/config.json`,
      JSON.stringify({ ...WATCHDOG, engineSocket: own.socket, ...wanted }),
    )
    await trial.kill('watchdog')
    await trial.start('watchdog')
  }
  const conditions = async () => (await trial.mode()).conditions.map(({ name }) => name)
  const NORMAL = {}
  spans = NORMAL

  const home: PhaseHome = {
    trial,
    lines,
    agentLines,
    relayAgents() {
      lines.hub.judge = ({ verb }) => {
        if (verb !== 'start') return undefined
        const folder = join(trial.home, 'run', 's')
        for (const session of readdirSync(folder))
          if (!agentLines.has(session) && existsSync(join(folder, session, 'hub.sock')))
            agentLines.set(session, relayAgentLine(join(folder, session)))
        // Until the relay listens.
        return { kind: 'slow', ms: 100 }
      }
    },
    watchdogWith,
    raised: () =>
      [
        ...told()
          .slice(from)
          .matchAll(/"event":"raised","finding":"(\w+)"/g),
      ].map((found) => found[1] ?? ''),
    conditions,
    engineCall,
    async stray() {
      strays += 1
      const { wallMs, bootMs, bootId } = clock.read()
      const session = `s${'a'.repeat(13)}${String.fromCharCode(97 + (strays % 26))}b`
      const Labels = {
        'hub.instance': trial.instance,
        'hub.session': session,
        'hub.task': session,
        'hub.expires-at': String(wallMs + 600_000),
        'hub.expires-boot': `${bootId}:${bootMs + 600_000}`,
      }
      const program = 'while (true);'
      const made = (await engineCall(
        'POST',
        `/containers/create?name=stray-${session}-${trial.instance.slice(-12)}-${strays}`,
        {
          Image: 'hub-test/trial',
          Entrypoint: ['node', '-e', program],
          Labels,
          HostConfig: { NetworkMode: 'none', Memory: 128 * 2 ** 20, NanoCpus: 100_000_000 },
        },
      )) as { Id: string }
      if (made.Id === undefined) throw new Error(`no stray container: ${JSON.stringify(made)}`)
      await engineCall('POST', `/containers/${made.Id}/start`)
      return made.Id
    },
    async emergency() {
      const { code, stdout, stderr } = await runHub(trial.home, ['shutdown', '--emergency', '--yes', '--json'])
      if (stdout === '') throw new Error(`hub shutdown --emergency: ${stderr}`)
      return { ...(JSON.parse(stdout) as StopView), code, stderr }
    },
    mark() {
      from = told().length
      fromMs = Date.now()
    },
    judge: () => [
      ...judgeInvariants(trial.home, { acknowledged: trial.acknowledged }),
      ...trial.witness.overlaps().map((text) => `I3: ${text}`),
    ],
    async hubAlerts() {
      const { alerts } = await trial.hub.call('alert.list', { all: 'true' })
      return alerts.filter(({ raisedAtMs }) => raisedAtMs >= fromMs).map(({ cause }) => cause)
    },
    async backToNormal() {
      const broken: string[] = []
      for (const line of Object.values(lines)) {
        line.heal()
        await line.up().catch(() => undefined)
      }
      for (const line of agentLines.values()) line.cut()
      agentLines.clear()
      const had =
        ((await trial.watchdog.send('GET', '/v1/status').catch(() => ({}))) as { conditions?: string[] }).conditions ??
        []
      await waitGone(trial.pids.hub, trial.home, 120_000)
      await trial.start('hub')
      await watchdogWith(NORMAL)
      const holds = async (when: string, names: readonly string[]) => {
        // A lease at least has come by then.
        await trial.until('a lease', conditions, (names) => !names.includes('lease_pending'))
        await sleep(600)
        const now = await conditions()
        for (const name of names)
          if (!now.includes(name)) broken.push(`I5: ${when} ${name} does not hold any more (${now})`)
        if ((await trial.mode()).mode === 'normal') broken.push(`I5: ${when} the mode is normal`)
      }
      await holds('after the start of both', had)
      await trial.hub.call('operator.heartbeat', {})
      await holds(
        'after a heartbeat alone',
        had.filter((name) => name === 'emergency_stop' || name === 'unattended_stop'),
      )
      await trial.watchdog.send('POST', '/v1/up', {})
      await trial.hub.call('operator.heartbeat', {})
      await trial.hub.call('mode.resume', {})
      await trial.untilNormal()
      const { agents } = await trial.hub.call('agent.list')
      for (const { name, state } of agents) if (state !== 'registered') await trial.hub.call('agent.reset', { name })
      for (const id of trial.acknowledged) {
        const { state } = await trial.task(id)
        if (state === 'queued' || state === 'running') await trial.hub.call('task.cancel', { id })
      }
      await trial.until('no session is open', trial.sessions, (open) => open.length === 0)
      await trial.empty()
      return broken
    },
    async [Symbol.asyncDispose]() {
      for (const pid of Object.values(trial.pids)) {
        try {
          process.kill(pid, 'SIGCONT')
        } catch {
          // Not there any more.
        }
      }
      const loose = await strictness()
      await trial[Symbol.asyncDispose]()
      await own.close()
      if (loose.length > 0) throw new Error(loose.join('\n'))
    },
  }
  return home
}
