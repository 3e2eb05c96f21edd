/** Which records a search wants: once as a condition for the table of a month, once for records that were read from a file. Both say the same. */
import type { AuditRecord } from '../../protocol/audit-chain.ts'

export interface AuditFilter {
  action?: string
  outcome?: string
  /** The id of the decision that it names. */
  decision?: string
  /** Records by and about this session. */
  session?: string
  /** Records by the sessions of this agent, and about the agent. */
  agent?: string
  /** Records about this task, and by and about these sessions of it. */
  task?: { readonly id: string; readonly sessions: readonly string[] }
  /** Records that name any of these, whoever made them. */
  names?: readonly string[]
  /** Epoch ms: from then on, and until before then. */
  fromMs?: number
  untilMs?: number
}

type Test = (record: AuditRecord) => boolean
interface Condition {
  sql: string
  values: readonly (string | number)[]
  test: Test
}

/** What a record says of whom and of what; each part on a line, so that no id is found across two of them. */
const textOf = ({ principal, resource, effect }: AuditRecord): string => `${principal}\n${resource}\n${effect}`
const TEXT_SQL = 'principal || char(10) || resource || char(10) || effect'

const bySession = (session: string): Test => {
  const about = `session:${session}`
  return ({ principal, resource }) =>
    resource === about || (principal.startsWith('agent:') && principal.includes(`/${session}`))
}
const SESSION_SQL =
  "resource = 'session:' || ? or (substr(principal, 1, 6) = 'agent:' and instr(principal, '/' || ?) > 0)"

function conditionsOf(filter: AuditFilter): Condition[] {
  const found: Condition[] = []
  const wants = (sql: string, values: readonly (string | number)[], test: Test) =>
    void found.push({ sql, values, test })
  const { action, outcome, decision, session, agent, task, names, fromMs, untilMs } = filter
  if (action !== undefined) wants('action = ?', [action], (record) => record.action === action)
  if (outcome !== undefined) wants('outcome = ?', [outcome], (record) => record.outcome === outcome)
  if (decision !== undefined) wants('decision_id = ?', [decision], (record) => record.decisionId === decision)
  if (fromMs !== undefined) wants('at_ms >= ?', [fromMs], (record) => record.atMs >= fromMs)
  if (untilMs !== undefined) wants('at_ms < ?', [untilMs], (record) => record.atMs < untilMs)
  if (session !== undefined) wants(SESSION_SQL, [session, session], bySession(session))
  if (agent !== undefined) {
    const by = `agent:${agent}/`
    wants(
      "resource = 'agent:' || ? or substr(principal, 1, ?) = ?",
      [agent, by.length, by],
      ({ principal, resource }) => resource === `agent:${agent}` || principal.startsWith(by),
    )
  }
  if (task !== undefined) {
    const about = `task:${task.id}`
    const ofSessions = task.sessions.map(bySession)
    wants(
      ['resource = ? or effect = ?', ...task.sessions.map(() => SESSION_SQL)].join(' or '),
      [about, about, ...task.sessions.flatMap((each) => [each, each])],
      (record) => record.resource === about || record.effect === about || ofSessions.some((test) => test(record)),
    )
  }
  if (names !== undefined)
    wants(names.length === 0 ? 'false' : names.map(() => `instr(${TEXT_SQL}, ?) > 0`).join(' or '), names, (record) =>
      names.some((name) => textOf(record).includes(name)),
    )
  return found
}

/** As a condition on the rows of a month's table, with the values for its question marks. */
export function conditionOf(filter: AuditFilter): { sql: string; values: (string | number)[] } {
  const found = conditionsOf(filter)
  return {
    sql: found.map(({ sql }) => `and (${sql})`).join(' '),
    values: found.flatMap(({ values }) => values),
  }
}

/** The same for one record. */
export function matcherOf(filter: AuditFilter): Test {
  const tests = conditionsOf(filter).map(({ test }) => test)
  return (record) => tests.every((test) => test(record))
}

const IDS = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=[/:])s[a-z2-7]{15}(?![a-z0-9-])/g

/** The ids that a record names: tasks, sessions, alerts and whatever else has one. Not its decision, which thousands may name. */
export const idsOf = (record: AuditRecord): string[] => [...new Set(textOf(record).match(IDS))]
