/** What people see of money: accounts with their limits, tokens of the hour, quotas, the nearest limit. Reads only. */
import type {
  AccountView,
  BudgetSettings,
  BudgetView,
  CallView,
  Limited,
  Nearest,
  RowBudget,
  TaskMoney,
} from '../../../protocol/budget.ts'
import type { BudgetShowRequest } from '../../../protocol/operations.ts'
import type { SessionRow } from '../../dispatch/rows.ts'
import type { Account, Accounts } from './accounts.ts'
import { slotOf } from './days.ts'
import { hoursOf } from './hours.ts'
import { type Limits, limitsOf, nearestOf, type Standing } from './limits.ts'
import type { QuotaPauses } from './quota-pause.ts'
import type { ReservationRow, Reservations } from './reservations.ts'

const SHOWN_MAX = 50

/** Of what limits a row shows which, and how it is named to people. */
type Shown = Pick<Standing, 'limits' | 'account'> & { scope: Nearest['scope']; key: string }

export interface ShowingParts {
  settings: BudgetSettings
  accounts: Accounts
  reservations: Pick<Reservations, 'ofTask'>
  quota: Pick<QuotaPauses, 'list'>
  waiting: () => number
  /** Names of the upstreams that are declared. */
  declared: () => string[]
  rowOf: (agent: string) => RowBudget | undefined
  agentOf: (task: string) => string | null
  /** Throws `unknown_task`. */
  rootOf: (task: string) => { root: string; rootAgent: string | null }
  sessions: () => readonly Pick<SessionRow, 'agent' | 'task' | 'attempt'>[]
  today: () => string
  nowMs: () => number
}

export function createShowing(parts: ShowingParts) {
  const { settings, accounts, reservations, quota, rowOf, agentOf, rootOf, today } = parts

  const limits = (scope: Limited, own: string | null, rootAgent: string | null = null, raised = 0): Limits =>
    limitsOf(
      settings,
      scope,
      { own: own === null ? undefined : rowOf(own), root: rootAgent === null ? undefined : rowOf(rootAgent) },
      raised,
    )
  /** Of a tree its own limit. */
  function treeOf(root: string, rootAgent: string | null): Shown {
    const account = accounts.get('tree', root)
    return { scope: 'tree', key: root, account, limits: limits('tree', rootAgent, rootAgent, account.raisedUsd) }
  }

  function hours(agent: string | undefined): Shown[] {
    return [...hoursOf(accounts, slotOf(parts.nowMs()))]
      .filter(([name]) => agent === undefined || name === agent)
      .map(([name, account]) => ({ scope: 'hour', key: name, account, limits: limits('hour', name) }))
  }

  /** Attempts and trees of what runs now, of one agent or one tree alone if that is asked for. */
  function running(agent: string | undefined, root: string | undefined): Shown[] {
    const trees = new Map<string, Shown>()
    const attempts: Shown[] = []
    for (const session of parts.sessions()) {
      if (agent !== undefined && session.agent !== agent) continue
      const found = rootOf(session.task)
      if (root !== undefined && found.root !== root) continue
      if (!trees.has(found.root)) trees.set(found.root, treeOf(found.root, found.rootAgent))
      const account = accounts.get('attempt', session.attempt)
      attempts.push({ scope: 'attempt', key: session.task, account, limits: limits('attempt', session.agent) })
    }
    return [...trees.values(), ...attempts]
  }

  return {
    show({ task, agent, day: asked }: BudgetShowRequest): BudgetView {
      const now = today()
      const day = asked ?? now
      const found = task === undefined ? undefined : rootOf(task)
      const own = task === undefined ? undefined : (agentOf(task) ?? undefined)
      const days: Shown[] = [{ scope: 'day', key: day, account: accounts.get('day', day), limits: limits('day', null) }]
      const agents = accounts
        .list('agent_day', agent === undefined ? `${day} ` : `${day} ${agent}`, SHOWN_MAX)
        .filter(({ key }) => agent === undefined || key === `${day} ${agent}`)
        .map((account): Shown => {
          const name = account.key.split(' ')[1] ?? ''
          return { scope: 'agentDay', key: name, account, limits: limits('agentDay', name) }
        })
      const tree = found === undefined ? [] : [treeOf(found.root, found.rootAgent)]
      const ofHour = day === now ? hours(agent ?? own) : []
      const nearest = nearestOf([
        ...(day === now ? days : []),
        ...(found === undefined ? agents : agents.filter(({ key }) => key === own)),
        ...tree,
        ...ofHour,
        ...(day === now ? running(agent, found?.root) : []),
      ])
      const accountOf = ({ scope, account, limits: of }: Shown) =>
        accountView(account as Account, scope as AccountView['scope'], of)
      return {
        declared: parts.declared(),
        day,
        accounts: [
          ...[...days, ...agents, ...tree].map(accountOf),
          ...(task === undefined ? [] : [accountView(accounts.get('task', task), 'task', {})]),
        ],
        calls: task === undefined ? [] : reservations.ofTask(task, SHOWN_MAX).map(callView),
        pauses: quota.list().map(({ text: _, ...pause }) => pause),
        waiting: parts.waiting(),
        hours: ofHour.sort(byShare).map(hourView),
        nearest: nearest === undefined ? null : nearestView(nearest),
      }
    },
    /** What a task and its tree cost so far; null where nothing is declared and nothing was called. Throws `unknown_task`. */
    costOf(task: string): TaskMoney | null {
      const { root, rootAgent } = rootOf(task)
      const tree = treeOf(root, rootAgent)
      if (tree.account.calls === 0 && parts.declared().length === 0) return null
      return {
        task: accountView(accounts.get('task', task), 'task', {}),
        tree: accountView(accounts.get('tree', root), 'tree', tree.limits),
      }
    },
  }
}

/** The largest used part of a limit first. */
function byShare(a: Shown, b: Shown): number {
  const share = (of: Shown) => {
    const nearest = nearestOf([of])
    return nearest === undefined ? 0 : nearest.used / nearest.limit
  }
  return share(b) - share(a)
}

function nearestView({ of, ...rest }: NonNullable<ReturnType<typeof nearestOf<Shown>>>): Nearest {
  return { scope: of.scope, key: of.key, ...rest }
}

function hourView({ key, account, limits }: Shown): BudgetView['hours'][number] {
  const { input, output } = account
  return { agent: key, input, inputLimit: limits.input ?? null, output, outputLimit: limits.output ?? null }
}

function accountView(account: Account, scope: AccountView['scope'], limits: Limits): AccountView {
  const { key, spentUsd, estimatedUsd, heldUsd, input, output, calls } = account
  return { scope, key, spentUsd, estimatedUsd, heldUsd, limitUsd: limits.usd ?? null, input, output, calls }
}

export function callView(row: ReservationRow): CallView {
  const { id, state, agent, upstream, model, usd, reservedUsd, input, output, unreadable, atMs } = row
  const why = unreadable === null ? row.why : `its row is damaged (${unreadable}), so it counts with the most it shows`
  return { id, state, agent, upstream, model, usd, reservedUsd, input, output, why, atMs }
}
