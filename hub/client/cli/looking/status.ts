/** `hub status`: one screen that answers "is all well, what must I do, and by when". If the hub is dead, it shows what the watchdog knows. */

import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Remains } from '../../../base/container-processes.ts'
import { askedWords } from '../../../protocol/asked-words.ts'
import type { BudgetView } from '../../../protocol/budget.ts'
import type { AlertView, ApprovalView, ModeView, PresenceView, TaskView } from '../../answers.ts'
import { EXIT, type Problem, toProblem } from '../../problem.ts'
import type { Run } from '../context.ts'
import { listContainers, remainsOf } from '../engine.ts'
import { pathsOf } from '../home.ts'
import { shortId } from '../ids.ts'
import { moneyRows } from '../money/words.ts'
import {
  type Cell,
  clean,
  countOf,
  facts,
  inOneLine,
  type Paint,
  type Style,
  sizeText,
  spanWords,
  whenText,
} from '../text.ts'
import { progressText } from '../work/tasks.ts'

const WORDS: Readonly<Record<string, string>> = {
  shutdown: 'shut down',
  down: 'taken down',
  restart: 'ended for a restart',
  emergency_stop: 'stopped in an emergency',
  unattended_stop: 'stopped because no heartbeat came',
}

function whoText(by: string | null): string {
  if (by === null) return ''
  const [kind = '', name = ''] = by.split(':')
  if (kind === 'operator') return ' by you'
  if (kind === 'contact') return ' by your backup contact'
  return kind === 'watchdog' ? ' by the watchdog' : ` by ${kind} ${name}`
}

/** `shut down by you Sat 05:34 CET (3 m ago)`; undefined if the hub left no such file, as after a crash, or not a valid one. */
export function lastEndText(home: string, nowMs: number): string | undefined {
  try {
    const found = JSON.parse(readFileSync(path.join(home, 'run', 'ended.json'), 'utf8')) as Record<string, unknown>
    const { how, by, atMs } = found
    if (typeof how !== 'string' || !Number.isSafeInteger(atMs)) return undefined
    const what = Object.hasOwn(WORDS, how) ? WORDS[how] : `ended by ${how}`
    return `${what}${whoText(typeof by === 'string' ? by : null)} ${whenText(Number(atMs), nowMs)}`
  } catch {
    return undefined
  }
}

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
  /** How the hub ended, if it recorded that and does not answer. */
  ended?: string | null
  watchdog: WatchdogView | null
  watchdogProblem: string | null
  running: TaskView[]
  /** Open alerts of the hub. */
  alerts: AlertView[]
  /** What was spent today, and what waits for money or a quota; null if that could not be read. */
  money?: Partial<BudgetView> | null
  /** What waits for an answer, the oldest first. */
  questions?: ApprovalView[]
  /** Containers that are left although the hub is dead, or that cannot be removed, whatever left them (fault A10). */
  left?: LeftView[]
}
export interface LeftView {
  container: string
  /** The engine's state of it, or why it cannot be removed. */
  state: string
  remains: Remains
}

const MODE_STYLES: Readonly<Record<string, Style>> = {
  normal: 'green',
  degraded: 'yellow',
  safe: 'red',
  draining: 'yellow',
}

/** The most urgent thing to do, or `nothing`. Pure. */
export function decideNext(view: StatusView): string {
  // It was stopped on purpose, so there is no fault to look for.
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
    return `answer ${asked.kind === 'budget' ? 'whether a task may spend more' : typeof asked.operation === 'string' ? 'what a rule asks' : `agent ${asked.agent}`}: \`hub approve ${shortId(asked.id)}\` or \`hub reject ${shortId(asked.id)}\``
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
  for (const { name, sentTo, waiting, isBehind, isFailing } of hub.forwarding ?? []) {
    const how = waiting === 0 ? `up to record ${sentTo}` : `${waiting} records wait`
    const text = `to ${name}: ${how}${isFailing ? '; the last try failed: `hub alert list` says why once it lasts a minute' : ''}`
    rows.push(['forward', isBehind || isFailing ? { text, style: 'yellow' } : text])
  }
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

/** How large the home is, its largest parts, and when it will have filled the disk. */
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
  // A planned absence is no fault, and it has its own row.
  const wrong = dog.alerts.map(({ finding }) => finding).filter((finding) => finding !== 'away')
  if (wrong.length > 0) return { text: `${countOf(wrong.length, 'alert')}: ${wrong.join(', ')}`, style: 'red' }
  return dog.roundAgeMs === null ? 'in its first round' : `ok, last round ${spanWords(dog.roundAgeMs)} ago`
}

const LEFT_SHOWN = 8

/** What still runs, each with its processes. */
function leftRows(left: readonly LeftView[]): [string, Cell][] {
  const runs = ({ remains }: LeftView) =>
    remains.kind === 'nothing'
      ? 'none of its processes runs'
      : remains.kind === 'processes'
        ? `process ${remains.pids.join(', ')} runs`
        : 'its processes cannot be seen from here'
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

/** While the hub runs: containers that cannot be removed. If it is dead: every container of this home that the engine shows. */
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

/** Each question in one line, with the command that answers it. */
function questionRows(questions: readonly ApprovalView[], nowMs: number): [string, Cell][] {
  const rows = questions.slice(0, QUESTIONS_SHOWN).map((one, at): [string, Cell] => {
    const { who, what } = askedWords(one)
    const text = `${who}, ${whenText(one.askedAtMs, nowMs)}: ${inOneLine(what)} (\`hub approve ${shortId(one.id)}\`)`
    return [at === 0 ? 'asked' : '', { text, style: 'yellow' }]
  })
  if (questions.length > QUESTIONS_SHOWN)
    rows.push(['', `${questions.length - QUESTIONS_SHOWN} more: \`hub approval list\``])
  return rows
}

/** The worst first, five at most. Questions have their own rows. */
function alertRows(all: readonly AlertView[], nowMs: number): [string, Cell][] {
  const alerts = all.filter(({ cause }) => !/^(question|approval):/.test(cause))
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
  if (view.money) rows.push(...moneyRows(view.money, nowMs))
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

const NO_TASKS: { tasks: TaskView[] } = { tasks: [] }
const NO_ALERTS: { alerts: AlertView[] } = { alerts: [] }
const NO_QUESTIONS: { approvals: ApprovalView[] } = { approvals: [] }

export const status: Run = async ({ hub, watchdog, home, json, terminal }) => {
  const quick = { deadlineMs: 5_000, own: true }
  const failed = (error: unknown): Problem => toProblem(error)
  const [health, dog] = await Promise.all([
    hub.call('health.show', {}, quick).catch(failed),
    watchdog.send('GET', '/v1/status', undefined, quick).catch(failed),
  ])
  const dead = health instanceof Error
  const [{ tasks }, { alerts }, { approvals }, money] = await Promise.all([
    dead ? NO_TASKS : hub.call('task.list', { state: 'running', limit: 5 }, quick).catch(() => NO_TASKS),
    dead ? NO_ALERTS : hub.call('alert.list', {}, quick).catch(() => NO_ALERTS),
    dead ? NO_QUESTIONS : hub.call('approval.list', {}, quick).catch(() => NO_QUESTIONS),
    dead ? null : hub.call('budget.show', {}, quick).catch(() => null),
  ])
  const view: StatusView = {
    home,
    hub: dead ? null : health,
    hubProblem: dead ? health.message : null,
    ended: dead && toProblem(health).code === 'unreachable' ? (lastEndText(home, Date.now()) ?? null) : null,
    watchdog: dog instanceof Error ? null : (dog as WatchdogView),
    watchdogProblem: dog instanceof Error ? dog.message : null,
    running: tasks,
    alerts,
    money,
    questions: [...approvals].reverse(),
    left: await leftOf(home, dead ? null : health),
  }
  if (json) terminal.json(view)
  else terminal.out(statusText(view, Date.now(), terminal.paint))
  return dead ? EXIT.unreachable : EXIT.done
}

type Row = [string, Cell]

function withoutIt(beat: PresenceView, at: (inMs: number) => string): Row {
  const safe = beat.safeInMs > 0 ? `nothing starts after ${at(beat.safeInMs)}` : 'nothing starts now'
  return ['', `without it ${safe}, everything stops ${at(beat.stopInMs)}`]
}

function awayRows(away: NonNullable<PresenceView['away']>, beat: PresenceView, at: (inMs: number) => string): Row[] {
  const work = away.keepWorking ? 'agents keep working' : 'nothing new starts'
  const note = away.note === '' ? '' : ` (${away.note})`
  const until: Cell = { text: `until ${at(away.untilInMs)}: ${work}${note}`, style: 'yellow' }
  return [
    ['away', until],
    ['', `not back by ${at(beat.safeInMs)}: your contact is told; everything stops ${at(beat.stopInMs)}`],
  ]
}

/**
 * When a heartbeat is due and what happens without it, in the operator's zone. `hub` gives the deadline if the watchdog does not answer.
 * `nowMs`: the wall clock's now.
 */
export function presenceRows(beat: PresenceView | undefined, hub: ModeView | null, nowMs: number): Row[] {
  const at = (inMs: number) => whenText(nowMs + inMs, nowMs, beat?.zone)
  if (beat?.stopped)
    return [['heartbeat', { text: 'the unattended stop holds: `hub up`, then `hub heartbeat`', style: 'red' }]]
  if (beat?.paused) return [['heartbeat', 'paused: this hub runs nothing']]
  if (beat?.away) return awayRows(beat.away, beat, at)
  const dueInMs = beat?.dueInMs ?? hub?.lease?.deadlineInMs
  if (dueInMs === undefined) return []
  const due: Cell = dueInMs < 0 ? { text: `was due ${at(dueInMs)}`, style: 'red' } : `due ${at(dueInMs)}`
  const rows: Row[] = [['heartbeat', due]]
  if (beat === undefined) return rows
  rows.push(withoutIt(beat, at))
  if (typeof beat.weakAgeMs === 'number' && beat.weakMostInMs !== undefined)
    rows.push([
      '',
      `last webhook heartbeat ${spanWords(beat.weakAgeMs)} ago; webhooks alone extend the deadline to ${at(beat.weakMostInMs)} at most`,
    ])
  if (beat.quiet) rows.push(['', 'quiet hours: reminders wait until they end'])
  return rows
}
