/**
 * A storm over a whole hub: real processes, real engine behind a proxy. Everything of a plan happens at its time; then all is healed and
 * the storm has to end in a calm in which the invariants hold.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answered, TaskView } from '../../hub/client/answers.ts'
import { judgeInvariants } from '../support/invariants.ts'
import { openTrialHome, type TrialHome } from '../support/trial-home.ts'
import { type Act, planStorm } from './plan.ts'
import { stopAtTheEnd, watchStrictness } from './promises.ts'

export interface StormReport {
  seed: number
  /** How often each kind of act was done. */
  acts: Record<string, number>
  /** Tasks by the state they ended in; `held` waits for a word. */
  tasks: Record<string, number>
  /** Containers that were started. */
  runs: number
  calmMs: number
  /** What does not hold, a line each. */
  broken: string[]
}

const CALM_MS = 600_000
/** Of what the plan gives no time of its own; what is to be stopped at the end has longer, so that none of it ends before on a slow machine. */
const TTL_MS = 45_000
const ENDED: readonly string[] = ['succeeded', 'failed', 'cancelled', 'timed_out']
/** Killed by the storm, refused by a mode, not there: what an act may meet. The calm is what has to be right. */
const whatever = () => undefined

export async function runStorm(options: {
  seed: number
  seconds: number
  say: (line: string) => void
}): Promise<StormReport> {
  const { seed, seconds, say } = options
  say(`storm: seed ${seed}, ${seconds} s; again: npm run storm -- --seconds ${seconds} --seed ${seed}`)
  await using trial = await openTrialHome({
    callTimeout: '8s',
    card: { limits: { ttl: '10m', memory: '256MiB', pids: 64 } },
    watchdog: { engineTimeoutMs: 5_000, orphanAgeMs: 20_000 },
  })
  const strictness = watchStrictness(trial)
  const acts: Record<string, number> = {}
  const later: Promise<unknown>[] = []
  const startedAt = performance.now()
  for (const { atMs, act } of planStorm(seed, seconds)) {
    const waitMs = atMs - (performance.now() - startedAt)
    if (waitMs > 0) await sleep(waitMs)
    acts[act.kind] = (acts[act.kind] ?? 0) + 1
    later.push(perform(trial, act).catch(whatever))
  }
  await Promise.all(later)
  const calmAt = performance.now()
  const broken = await calm(trial, say).catch((thrown: unknown) => [`no calm: ${(thrown as Error).message}`])
  const calmMs = Math.round(performance.now() - calmAt)
  const tasks = await allTasks(trial).catch((): TaskView[] => [])
  broken.push(...(await judgeResults(trial, tasks)))
  const verified = await trial.hub
    .call('audit.verify')
    .catch((thrown: unknown) => ({ ok: false, thrown: String(thrown) }))
  if ((verified as { ok: boolean }).ok !== true)
    broken.push(`I1: the hub's own verify says ${JSON.stringify(verified)}`)
  broken.push(...(await strictness()))
  broken.push(...(await stopAtTheEnd(trial).catch((thrown: unknown) => [`I6: the stop failed: ${String(thrown)}`])))
  await trial.stopHub()
  broken.push(...judgeInvariants(trial.home, { acknowledged: trial.acknowledged, calm: true }))
  broken.push(...trial.witness.overlaps().map((text) => `I3: ${text}`))
  const counts: Record<string, number> = {}
  for (const { state, held } of tasks) counts[held ? 'held' : state] = (counts[held ? 'held' : state] ?? 0) + 1
  if (broken.length > 0) say(trial.log())
  return { seed, acts, tasks: counts, runs: trial.witness.runs.length, calmMs, broken }
}

let keys = 0
/** Asked again under the same key until it is answered, as a careful caller does: it must not become two tasks (I3). */
async function submit(trial: TrialHome, { agent, params, ttlMs }: Extract<Act, { kind: 'submit' }>): Promise<void> {
  keys += 1
  const headers = { 'idempotency-key': `storm-${trial.instance}-${keys}` }
  const request = { agent, params, ttlMs: ttlMs ?? TTL_MS }
  for (let tries = 0; tries < 20; tries += 1) {
    try {
      const { task } = await trial.hub.call('task.submit', request, { headers, deadlineMs: 5_000 })
      trial.acknowledged.push(task.id)
      return
    } catch {
      await sleep(500)
    }
  }
}

const at = <Item>(items: readonly Item[], pick: number): Item | undefined => items[pick % Math.max(1, items.length)]

async function perform(trial: TrialHome, act: Act): Promise<void> {
  const { hub, proxy, engine, instance } = trial
  switch (act.kind) {
    case 'submit':
      return submit(trial, act)
    case 'kill': {
      for (const who of act.who) await trial.kill(who)
      await sleep(act.forMs)
      for (const who of act.who) await revive(trial, who)
      return
    }
    case 'kill_agent': {
      const running = (await engine.list(instance)).filter(({ state }) => state === 'running')
      await engine.kill(at(running, act.pick)?.id ?? '')
      return
    }
    case 'spoil':
      proxy.spoil(act.verb, act.fault, act.times)
      await sleep(act.forMs)
      return proxy.heal()
    case 'close_streams':
      return proxy.closeStreams(act.verb)
    case 'engine_down':
      await proxy.down()
      await sleep(act.forMs)
      return proxy.up()
    case 'safe':
      await hub.call('mode.safe', { reason: 'storm' })
      await sleep(act.forMs)
      return void (await hub.call('mode.resume', {}))
    case 'cancel': {
      const open = (await allTasks(trial)).filter(({ state }) => !ENDED.includes(state))
      return void (await hub.call('task.cancel', { id: at(open, act.pick)?.id ?? '' }))
    }
    case 'stop_session':
      return void (await hub.call('session.stop', { id: at(await trial.sessions(), act.pick)?.id ?? '' }))
    case 'release': {
      const held = (await allTasks(trial)).filter(({ held }) => held)
      return void (await hub.call('task.release', { id: at(held, act.pick)?.id ?? '' }))
    }
    case 'rotate_keys':
      return void (await hub.call('keys.rotate', {}))
    case 'reload':
      return void (await hub.call('agent.reload', {}))
  }
}

/** Several may wish for the same process: one of them starts it, once it is really gone. */
const reviving = new Map<string, Promise<void>>()
async function revive(trial: TrialHome, who: 'hub' | 'watchdog'): Promise<void> {
  while (reviving.has(who)) await reviving.get(who)
  if (trial.isUp(who)) return
  const work = trial.start(who).finally(() => reviving.delete(who))
  reviving.set(who, work)
  await work
}

async function allTasks(trial: TrialHome): Promise<TaskView[]> {
  const found: TaskView[] = []
  for (let cursor: string | null = null; ; ) {
    const page: Answered<'task.list'> = await trial.hub.call('task.list', {
      limit: 100,
      ...(cursor === null ? {} : { cursor }),
    })
    found.push(...page.tasks)
    cursor = page.next ?? null
    if (cursor === null) return found
  }
}

/** Heals everything, then waits until nothing runs. What an operator would do is done: agents are reset, alerts dealt with. */
async function calm(trial: TrialHome, say: (line: string) => void): Promise<string[]> {
  const { proxy } = trial
  await proxy.up().catch(whatever)
  proxy.heal()
  const endAt = performance.now() + CALM_MS
  let toldAt = performance.now()
  for (;;) {
    for (const who of ['hub', 'watchdog'] as const) await revive(trial, who).catch(whatever)
    const open = await settle(trial).catch((thrown: unknown) => [(thrown as Error).message])
    if (open.length === 0) return []
    if (performance.now() > endAt) return [`no calm within ${CALM_MS / 1000} s: ${open.slice(0, 8).join('; ')}`]
    if (performance.now() - toldAt > 10_000) {
      toldAt = performance.now()
      say(`storm: waiting for ${open.length}: ${open.slice(0, 3).join('; ')}`)
    }
    await sleep(300)
  }
}

/** What is still open, in words. */
async function settle(trial: TrialHome): Promise<string[]> {
  const { hub } = trial
  await hub.call('mode.resume', {}).catch(whatever)
  const { agents } = await hub.call('agent.list')
  for (const { name, state } of agents) if (state !== 'registered') await hub.call('agent.reset', { name })
  const [tasks, sessions, left] = await Promise.all([
    allTasks(trial),
    trial.sessions(),
    trial.engine.list(trial.instance),
  ])
  const { mode, conditions } = await trial.mode()
  return [
    ...(mode === 'normal' ? [] : conditions.map(({ name, reason }) => `${name}: ${reason}`)),
    ...tasks
      .filter(({ state, held }) => !ENDED.includes(state) && !held)
      .map(({ id, state, params, attempts }) => `task ${id} is ${state} (${String(params.what)}, attempt ${attempts})`),
    ...sessions.map(({ id, state }) => `session ${id} is ${state}`),
    ...left.map(({ name, state }) => `container ${name} is ${state}`),
  ]
}

/** A result is of the session whose attempt settled, and of no other: agents say themselves where they ran. */
async function judgeResults(trial: TrialHome, tasks: readonly TaskView[]): Promise<string[]> {
  const broken: string[] = []
  for (const { id, state, outcome } of tasks) {
    if (state !== 'succeeded') continue
    const settled = (await trial.attempts(id)).filter((attempt) => attempt.state === 'settled')
    const said = (outcome?.value as { session?: string } | undefined)?.session
    if (settled.length !== 1 || settled[0]?.session !== said)
      broken.push(
        `I3: the result of ${id} is of ${said}, settled in ${settled.map(({ session }) => session).join(', ')}`,
      )
  }
  return broken
}
