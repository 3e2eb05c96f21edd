/** One cell of the matrix from its beginning to normal again, and everything in it that does not hold: a line each. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Act } from './phase-acts.ts'
import type { PhaseHome } from './phase-home.ts'
import type { Cell, Scene } from './phase-walk.ts'

/** Past its deadline a deaf container is seen, gets its 5 s, is removed; the rest is for a busy machine. */
const LATE_MS_MAX = 15_000
/** From `hub shutdown --emergency` to its answer. */
const STOP_MS_MAX = 120_000
/** A guard against what never comes. What holds a rule is judged by the engine's own times. */
const COMES_MS_MAX = 120_000

const cannot = ({ disables }: Act, who: Act['disables'][number]) => disables.includes(who)

async function tryTo(what: string, act: () => Promise<unknown>): Promise<string[]> {
  try {
    await act()
    return []
  } catch (thrown) {
    return [`${what}: ${(thrown as Error).message.split('\n')[0]}`]
  }
}

/** I5: nothing new is taken where anything forbids it. */
async function refused({ trial }: PhaseHome): Promise<string[]> {
  try {
    await trial.hub.call('task.submit', { agent: 'trial', params: { what: 'work' } }, { deadlineMs: 60_000 })
    return ['I5: a task was taken although nothing may start']
  } catch (thrown) {
    const { code } = thrown as { code?: string }
    return /^mode_/.test(code ?? '') ? [] : [`I5: the task was refused by ${code}, not by the mode`]
  }
}

/** What must come to pass while the act lasts. */
async function during(home: PhaseHome, scene: Scene, { act, phase }: Cell): Promise<string[]> {
  const { trial } = home
  const broken: string[] = []
  const runs = (task: string) => trial.witness.runs.filter((run) => run.task === task)
  const hubAnswers = !cannot(act, 'hub') || act.victim === 'hub-engine'
  const isAgent = act.victim === 'agent' || act.victim === 'agent-hub'
  const watchdogActs = !cannot(act, 'watchdog') && !cannot(act, 'engine') && phase.name !== 'lapsed'

  const must = phase.silent ? act.must.filter((id) => id !== 'hub_health') : act.must
  if (phase.name !== 'lapsed')
    broken.push(
      ...(await tryTo(`the watchdog raises ${must}`, () =>
        trial.until(
          'it is raised',
          async () => home.raised(),
          (all) => must.every((id) => all.includes(id)),
          COMES_MS_MAX,
        ),
      )),
    )
  // The hub's own view, where it can be asked.
  const forbids = [
    ...(phase.condition === undefined ? [] : [phase.condition]),
    ...(act.victim === 'hub-watchdog' || (act.victim === 'watchdog' && (act.act === 'kill' || act.act === 'stop'))
      ? // Pending where it was started again, as an unattended stop is ended, and has had no lease since.
        ['lease_lapsed|lease_pending']
      : []),
    ...((act.victim === 'engine' && act.act !== 'starve') || act.victim === 'hub-engine' ? ['engine_unavailable'] : []),
  ]
  if (hubAnswers && phase.name !== 'stopping' && forbids.length > 0) {
    broken.push(
      ...(await tryTo(`I5: the hub holds ${forbids}`, () =>
        trial.until(
          'it holds',
          home.conditions,
          (names) => forbids.every((some) => some.split('|').some((name) => names.includes(name))),
          COMES_MS_MAX,
        ),
      )),
      ...(await refused(home)),
    )
  }
  // An agent that cannot go on is found and, where anything may start, begun again; where nothing may it is not.
  const isLost = isAgent && (act.act === 'kill' || act.act === 'stop' || act.act === 'cut')
  const task = scene.third ?? scene.steady?.task
  if (isLost && task !== undefined && phase.condition === undefined)
    broken.push(
      ...(await tryTo('the lost agent is begun again', () =>
        trial.until(
          'a second run',
          async () => runs(task),
          (found) => found.length > (scene.third === undefined ? (scene.steady?.runs ?? 1) : 1),
          COMES_MS_MAX,
        ),
      )),
    )
  if (
    scene.short !== undefined &&
    !cannot(act, 'engine') &&
    (phase.name !== 'lapsed' || (hubAnswers && act.victim !== 'hub-engine'))
  )
    broken.push(...(await over(home, scene.short)))
  if (phase.condition === 'unattended_stop' || phase.condition === 'emergency_stop') {
    const stray = scene.target.container || (await home.stray())
    if (watchdogActs)
      broken.push(
        ...(await tryTo('I4: a container that appears under a stop is removed', () =>
          trial.until(
            'it is gone',
            async () => trial.engine.inspect(stray),
            (found) => found === undefined,
            COMES_MS_MAX,
          ),
        )),
      )
  }
  if (scene.waiting !== undefined && runs(scene.waiting).length > 0)
    broken.push('I5: a task was started although nothing may start')
  if (scene.steady !== undefined) {
    const { task, container } = scene.steady
    if (runs(task).length > scene.steady.runs && (!isAgent || phase.condition !== undefined || act.act === 'burn'))
      broken.push('I5: an agent at work was started a second time')
    if (!isAgent || act.act === 'burn' || scene.third !== undefined) {
      const { State } = ((await trial.engine.inspect(container)) ?? {}) as { State?: { Running?: boolean } }
      if (State?.Running !== true) broken.push('an agent at work was lost, by nobody’s fault of its own')
    }
  }
  return broken
}

/** The act is over and nobody was told to stop: all goes on by itself, and what was at work has not noticed. */
async function healed(home: PhaseHome, { third, steady }: Scene, { act }: Cell): Promise<string[]> {
  const { trial } = home
  const broken = await tryTo('it is normal again', trial.untilNormal)
  if (third !== undefined)
    broken.push(
      ...(await tryTo('what was being started is done once all is well', async () => {
        const [task] = await trial.ended(third)
        if (task?.state !== 'succeeded') throw new Error(`it ended ${task?.state}: ${JSON.stringify(task?.error)}`)
      })),
    )
  // Two rounds in which what was missed meanwhile would be held against it.
  await sleep(3_000)
  const isHit = act.victim === 'agent-hub' || (act.victim === 'agent' && act.act !== 'burn')
  if (steady !== undefined && (!isHit || third !== undefined)) {
    const { attempts, state } = await trial.task(steady.task)
    if (attempts !== steady.runs || state !== 'running')
      broken.push(`an agent at work is lost: ${state}, attempt ${attempts}`)
  }
  return broken
}

/** I4: what its time has passed for is dead, soon after. */
const over = (home: PhaseHome, task: string) =>
  tryTo('I4: a container outlives its time to live', async () => {
    const { trial } = home
    const mine = () => trial.witness.runs.filter((run) => run.task === task)
    await trial.until(
      'it is dead',
      async () => mine(),
      (runs) => runs.every(({ diedAt }) => Number.isFinite(diedAt)),
      COMES_MS_MAX,
    )
    for (const { diedAt, expiresAt } of mine())
      if (diedAt > expiresAt + LATE_MS_MAX) throw new Error(`${Math.round(diedAt - expiresAt)} ms late`)
  })

/** I6, while the act lasts: everything is stopped and confirmed; with no engine to ask, that is said, and done as soon as there is one. */
async function stop(home: PhaseHome, { act, phase }: Cell): Promise<string[]> {
  const { trial } = home
  const left = async () => (await trial.engine.list(trial.instance)).length
  if (cannot(act, 'engine')) {
    // The one of the two that can be asked.
    const asked =
      phase.name === 'lapsed'
        ? trial.hub.call('hub.shutdown', { reason: 'the test stops it', emergency: true }, { deadlineMs: STOP_MS_MAX })
        : trial.watchdog.send(
            'POST',
            '/v1/shutdown',
            { reason: 'the test stops it', by: 'emergency' },
            { deadlineMs: STOP_MS_MAX },
          )
    const view = (await asked) as { containers: { outcome: string }[]; unproven?: string }
    const isSure = view.unproven === undefined && view.containers.every(({ outcome }) => outcome !== 'failed')
    return isSure && (await left()) > 0 ? ['I6: everything was said to be stopped, and the engine shows more'] : []
  }
  const askedAt = performance.now()
  const { code, path, containers, stderr } = await home.emergency()
  const tookMs = Math.round(performance.now() - askedAt)
  const failed = containers.filter(({ outcome }) => outcome === 'failed')
  const there = await left()
  return [
    ...(code === 0 && failed.length === 0
      ? []
      : [`I6: by the ${path}, exit ${code}: ${JSON.stringify(failed)}: ${stderr}`]),
    ...(there === 0 ? [] : [`I6: ${there} containers are left after the stop by the ${path}`]),
    ...(tookMs < STOP_MS_MAX ? [] : [`I6: the stop took ${tookMs} ms`]),
  ]
}

/** What was alerted that should not have been. */
function falseAlarms(home: PhaseHome, { act, phase }: Cell): string[] {
  const may = new Set([...act.must, ...act.may, ...phase.may, 'emergency_stop', 'emergency_remains'])
  return [...new Set(home.raised())].filter((id) => !may.has(id)).map((id) => `a false alarm: ${id}`)
}
/** Other tests run hubs of their own on this engine, with the shipped range of users: that is told, and rightly (fault F14). */
const HUB_MAY = /^(mode_|contact_stop|emergency|session_users_shared)/

export async function walk(home: PhaseHome, cell: Cell): Promise<string[]> {
  const { trial } = home
  const { act, phase } = cell
  home.mark()
  if (act.victim === 'agent-hub') home.relayAgents()
  const scene = await phase.enter(home, act)
  const lift = await act.begin(home, scene.target)
  const broken = await during(home, scene, cell)
  const healsFirst = phase.name === 'starting' || phase.name === 'working'
  if (healsFirst) {
    await lift()
    broken.push(...(await healed(home, scene, cell)))
  }
  broken.push(...(await tryTo('I6: the stop failed', async () => broken.push(...(await stop(home, cell))))))
  const isStarted = act.victim === 'hub' && act.act === 'kill'
  if (!healsFirst && !isStarted) await lift()
  await scene.lift?.()
  broken.push(...(await tryTo('I4, I6: something is left', () => trial.empty(COMES_MS_MAX))))
  await trial
    .until(
      'the hub has ended',
      async () => trial.isUp('hub'),
      (up) => !up,
      COMES_MS_MAX,
    )
    .catch(() => trial.stopHub())
  broken.push(...home.judge(), ...falseAlarms(home, cell))
  broken.push(...(await home.backToNormal()))
  broken.push(
    ...(await home.hubAlerts()).filter((cause) => !HUB_MAY.test(cause)).map((cause) => `the hub alerts of ${cause}`),
  )
  const open = async () =>
    ((await trial.watchdog.send('GET', '/v1/status')) as { alerts: { finding: string }[] }).alerts
  broken.push(
    ...(await tryTo('an alert stays open', () =>
      trial.until('no alert', open, (alerts) => alerts.length === 0, COMES_MS_MAX),
    )),
  )
  return broken
}
