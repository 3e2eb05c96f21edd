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
  /** Records about any of these tasks, and by and about any of these sessions of theirs. */
  tasks?: { readonly ids: readonly string[]; readonly sessions: readonly string[] }
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

const EACH = 'select value from json_each(?)'
/** Every id of a session has 16 characters; what may follow says that it was not proven. */
const SESSION_OF = "substr(principal, instr(principal, '/') + 1, 16)"
const AGENT_SESSION = /^agent:[^/]*\/(.{16})/s

function conditionsOf(filter: AuditFilter): Condition[] {
  const found: Condition[] = []
  const wants = (sql: string, values: readonly (string | number)[], test: Test) =>
    void found.push({ sql, values, test })
  const { action, outcome, decision, session, agent, tasks, names, fromMs, untilMs } = filter
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
  if (tasks !== undefined) {
    const about = tasks.ids.map((id) => `task:${id}`)
    const things = new Set([...about, ...tasks.sessions.map((id) => `session:${id}`)])
    const effects = new Set(about)
    const sessions = new Set(tasks.sessions)
    const asJson = (set: ReadonlySet<string>) => JSON.stringify([...set])
    // Sets, however many there are: a condition for each session of a large tree would be looked at for each record.
    wants(
      `resource in (${EACH}) or effect in (${EACH}) or (substr(principal, 1, 6) = 'agent:' and ${SESSION_OF} in (${EACH}))`,
      [asJson(things), asJson(effects), asJson(sessions)],
      ({ principal, resource, effect }) =>
        things.has(resource) || effects.has(effect) || sessions.has(AGENT_SESSION.exec(principal)?.[1] ?? ''),
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
