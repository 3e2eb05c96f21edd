/** `hub status`: one screen that answers "is it well, what must I do, until when"; with the hub dead it says what the watchdog knows. */
import type { Remains } from '../../base/container-processes.ts'
import type { AlertView, ApprovalView, ModeView, TaskView } from '../answers.ts'
import { EXIT, type Problem, toProblem } from '../problem.ts'
import type { Run } from './context.ts'
import { listContainers, remainsOf } from './engine.ts'
import { pathsOf } from './home.ts'
import { shortId } from './ids.ts'
import { lastEndText } from './last-end.ts'
import { type PresenceView, presenceRows } from './presence-rows.ts'
import { progressText } from './tasks.ts'
import { type Cell, clean, countOf, facts, type Paint, type Style, sizeText, spanWords, whenText } from './text.ts'

/** The part of the watchdog's status that is shown here. */
export interface WatchdogView {
  hub: { answering: boolean; mode: string; reason: string }
  engine: string
  demand: string
  conditions: unknown[]
  heartbeat: PresenceView
  roundAgeMs: number | null
  alerts: { finding: string; level: number; forMs: number }[]
}
export interface StatusView {
  home: string
  hub: ModeView | null
  hubProblem: string | null
  /** How it ended, where it said so itself and does not answer. */
  ended?: string | null
  watchdog: WatchdogView | null
  watchdogProblem: string | null
  running: TaskView[]
  /** Open alerts of the hub. */
  alerts: AlertView[]
  /** What agents ask and wait for, the oldest first. */
  questions?: ApprovalView[]
  /** Containers that still stand although the hub is dead, or that do not go; whatever it was that left them (fault A10). */
  left?: LeftView[]
}
export interface LeftView {
  container: string
  /** As the engine shows it, or why it does not go. */
  state: string
  remains: Remains
}

const MODE_STYLES: Readonly<Record<string, Style>> = {
  normal: 'green',
  degraded: 'yellow',
  safe: 'red',
  draining: 'yellow',
}

/** What to do now, the most urgent first; nothing to do is an answer too. Pure. */
export function decideNext(view: StatusView): string {
  // Who stopped it has no fault to look for.
  if (view.hub === null && view.ended) return 'nothing runs; start it again: `hub up`'
  if (view.hub === null)
    return view.watchdog === null
      ? 'start it: `hub up`'
      : 'look at its log (logs/hub.log; under systemd the journal), then `hub up`'
  if (view.watchdog === null) return 'start the watchdog: `hub up`; without it nothing new starts'
  const holding = view.alerts.find(({ holds }) => holds)
  if (holding !== undefined) return `look into ${holding.cause}, then \`hub resume --alert ${shortId(holding.id)}\``
  const [asked] = view.questions ?? []
  if (asked !== undefined)
    return `answer agent ${asked.agent}: \`hub approve ${shortId(asked.id)}\` or \`hub reject ${shortId(asked.id)}\``
  const sticky = view.hub.conditions.find((each) => each.sticky) ?? view.hub.conditions[0]
  if (sticky !== undefined) return `${sticky.name}: ends by ${sticky.endsBy}`
  const { dueInMs, paused, away } = view.watchdog.heartbeat
  if (!paused && !away && dueInMs < 6 * 3_600_000) return 'give a heartbeat: `hub heartbeat`'
  return 'nothing'
}

function hubRows(hub: ModeView, nowMs: number): [string, Cell][] {
  const rows: [string, Cell][] = [['mode', { text: hub.mode, style: MODE_STYLES[hub.mode] ?? 'red' }]]
  for (const each of hub.conditions) {
    rows.push(['', `${each.name} since ${whenText(each.sinceMs, nowMs)}: ${each.reason}; ends by ${each.endsBy}`])
  }
  const held = hub.held ? ` (${hub.held} held: \`hub task release --all\`)` : ''
  rows.push(['tasks', `${hub.running} running, ${hub.queued} queued${held}, ${hub.dispatched} dispatched so far`])
  rows.push(['sessions', String(hub.sessions)])
  rows.push([
    'lease',
    hub.lease === null ? { text: 'none', style: 'yellow' } : `${spanWords(hub.lease.remainingMs)} left`,
  ])
  rows.push(['audit', `${hub.auditSize} records, head ${hub.auditHead.slice(0, 16)}`])
  if (hub.drill !== undefined) {
    const { daysSinceGood, overdue } = hub.drill
    const text = daysSinceGood === null ? 'no good one yet: `hub drill`' : `last good one ${daysSinceGood} days ago`
    rows.push(['drill', overdue ? { text: `${text}; due`, style: 'yellow' } : text])
  }
  if (hub.room) rows.push(['room', roomCell(hub.room)])
  rows.push(['hub', `${hub.version}, up ${spanWords(hub.uptimeMs)}, instance ${hub.instance}`])
  return rows
}

const DAYS_SOON = 14

/** How large the home is, its largest parts, and when the disk is full of it. */
function roomCell({ parts, bytes, growthPerDayBytes: growth, daysToFull: days }: NonNullable<ModeView['room']>): Cell {
  const largest = Object.entries(parts)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3)
    .filter(([, size]) => size > 0)
    .map(([name, size]) => `${name} ${sizeText(size)}`)
  const pace = growth === null || growth <= 0 ? '' : `; ${sizeText(growth)} more a day`
  const end = days === null ? '' : `, full in ${days} days`
  const text = `${sizeText(bytes)} (${largest.join(', ')})${pace}${end}`
  return days !== null && days < DAYS_SOON ? { text: `${text}: \`hub prune --dry-run\``, style: 'yellow' } : text
}

function watchdogCell(view: StatusView): Cell {
  const dog = view.watchdog
  if (dog === null) {
    const why = view.watchdogProblem ?? ''
    return {
      text: why.startsWith('the watchdog ') ? why.slice('the watchdog '.length) : `does not answer: ${why}`,
      style: 'red',
    }
  }
  // A planned absence is told to people and has its own row; it is nothing that is wrong.
  const wrong = dog.alerts.map(({ finding }) => finding).filter((finding) => finding !== 'away')
  if (wrong.length > 0) return { text: `${countOf(wrong.length, 'alert')}: ${wrong.join(', ')}`, style: 'red' }
  return dog.roundAgeMs === null ? 'first round' : `well, looked ${spanWords(dog.roundAgeMs)} ago`
}

const LEFT_SHOWN = 8

/** What still runs, each with its processes. */
function leftRows(left: readonly LeftView[]): [string, Cell][] {
  const runs = ({ remains }: LeftView) =>
    remains.kind === 'nothing'
      ? 'nothing of it runs'
      : remains.kind === 'processes'
        ? `process ${remains.pids.join(', ')} runs`
        : 'what runs of it cannot be seen from here'
  const rows = left.slice(0, LEFT_SHOWN).map((one, at): [string, Cell] => [
    at === 0 ? 'still there' : '',
    {
      text: `${one.container} (${one.state}): ${runs(one)}`,
      style: one.remains.kind === 'nothing' ? 'yellow' : 'red',
    },
  ])
  if (left.length > LEFT_SHOWN) rows.push(['', `${left.length - LEFT_SHOWN} more`])
  return rows
}

/** Of a living hub those that do not go; with it dead all that the engine shows of this home, as far as it answers. */
async function leftOf(home: string, hub: ModeView | null): Promise<LeftView[]> {
  if (hub !== null)
    return (hub.stuck ?? []).map(({ container, reason, remains }) => ({ container, state: reason, remains }))
  const paths = pathsOf(home)
  try {
    const found = await listContainers(paths)
    return await Promise.all(
      found.map(async (one) => ({ container: one.name, state: one.state, remains: await remainsOf(paths, one) })),
    )
  } catch {
    return []
  }
}

const ALERTS_SHOWN = 5

const QUESTIONS_SHOWN = 5

/** Each question in a line with the word that answers it; its alert says no more. */
function questionRows(questions: readonly ApprovalView[], nowMs: number): [string, Cell][] {
  const rows = questions.slice(0, QUESTIONS_SHOWN).map(({ id, agent, question, askedAtMs }, at): [string, Cell] => [
    at === 0 ? 'asked' : '',
    {
      text: `${agent ?? 'an agent'}, ${whenText(askedAtMs, nowMs)}: ${question} (\`hub approve ${shortId(id)}\`)`,
      style: 'yellow',
    },
  ])
  if (questions.length > QUESTIONS_SHOWN)
    rows.push(['', `${questions.length - QUESTIONS_SHOWN} more: \`hub approval list\``])
  return rows
}

/** The worst first; of many only some. */
function alertRows(all: readonly AlertView[], nowMs: number): [string, Cell][] {
  const alerts = all.filter(({ cause }) => !cause.startsWith('question:'))
  const order = ['critical', 'warning', 'info']
  const worst = [...alerts].sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity))
  const rows = worst.slice(0, ALERTS_SHOWN).map(({ severity, cause, raisedAtMs }, at): [string, Cell] => [
    at === 0 ? 'alerts' : '',
    {
      text: `${severity}: ${cause}, ${whenText(raisedAtMs, nowMs)}`,
      style: severity === 'critical' ? 'red' : 'yellow',
    },
  ])
  if (alerts.length > ALERTS_SHOWN) rows.push(['', `${alerts.length - ALERTS_SHOWN} more: \`hub alert list\``])
  return rows
}

/** The screen. `nowMs` is the wall clock's now. */
export function statusText(view: StatusView, nowMs: number, paint: Paint): string {
  const rows: [string, Cell][] = []
  if (view.hub !== null) rows.push(...hubRows(view.hub, nowMs))
  else if (view.ended) rows.push(['hub', { text: view.ended, style: 'yellow' }])
  else rows.push(['hub', { text: view.hubProblem ?? 'does not answer', style: 'red' }])
  const dog = view.watchdog
  if (view.hub === null && dog !== null) {
    rows.push([
      '',
      `the watchdog last saw: ${dog.hub.answering ? dog.hub.mode : dog.hub.reason}; it demands ${dog.demand}`,
    ])
  }
  rows.push(...questionRows(view.questions ?? [], nowMs))
  rows.push(...leftRows(view.left ?? []))
  rows.push(...alertRows(view.alerts, nowMs))
  rows.push(['watchdog', watchdogCell(view)], ...presenceRows(view.watchdog?.heartbeat, view.hub, nowMs), [
    'home',
    view.home,
  ])
  const next = decideNext(view)
  rows.push(['next', next === 'nothing' ? 'nothing to do' : { text: next, style: 'bold' }])
  const running = view.running.map((task) =>
    clean(`  ${shortId(task.id)}  ${task.agent ?? ''}  ${progressText(task)}`.trimEnd()),
  )
  return running.length === 0
    ? facts(rows, paint)
    : `${facts(rows, paint)}\n\n${paint('dim', 'RUNNING')}\n${running.join('\n')}`
}

export const status: Run = async ({ hub, watchdog, home, json, terminal }) => {
  const quick = { deadlineMs: 5_000 }
  const failed = (error: unknown): Problem => toProblem(error)
  const [health, dog] = await Promise.all([
    hub.call('health.show', {}, quick).catch(failed),
    watchdog.send('GET', '/v1/status', undefined, quick).catch(failed),
  ])
  const dead = health instanceof Error
  const asked = (operation: 'task.list' | 'alert.list' | 'approval.list', request: Record<string, unknown>) =>
    dead ? {} : hub.call(operation, request, quick).catch(() => ({}))
  const [tasks, alerts, approvals] = await Promise.all([
    asked('task.list', { state: 'running', limit: 5 }),
    asked('alert.list', {}),
    asked('approval.list', {}),
  ])
  const view: StatusView = {
    home,
    hub: dead ? null : (health as ModeView),
    hubProblem: dead ? health.message : null,
    ended: dead && toProblem(health).code === 'unreachable' ? (lastEndText(home, Date.now()) ?? null) : null,
    watchdog: dog instanceof Error ? null : (dog as WatchdogView),
    watchdogProblem: dog instanceof Error ? dog.message : null,
    running: (tasks as { tasks?: TaskView[] }).tasks ?? [],
    alerts: (alerts as { alerts?: AlertView[] }).alerts ?? [],
    questions: [...((approvals as { approvals?: ApprovalView[] }).approvals ?? [])].reverse(),
    left: await leftOf(home, dead ? null : (health as ModeView)),
  }
  if (json) terminal.json(view)
  else terminal.out(statusText(view, Date.now(), terminal.paint))
  return dead ? EXIT.unreachable : EXIT.done
}
