/**
 * Ids as a person types and reads them (fault C9): the last characters, which are random, where the first are only the time. Whoever types a
 * beginning or an end that only one has means that one.
 */
import type { OperationName } from '../../protocol/operations.ts'
import type { AlertView, ApprovalView, ArtifactView, SessionView, TaskView } from '../answers.ts'
import type { Connection } from '../connection.ts'
import { Problem, usage } from '../problem.ts'

export type Kind = 'task' | 'session' | 'question' | 'alert' | 'artifact'

const SHOWN = 8
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/** The end of a long id, by which it is told from others. */
export const shortId = (id: string): string => (id.length > 20 ? id.slice(-SHOWN) : id)
/** The beginning of a digest; every character of it is as good. */
export const shortDigest = (sha256: string): string => sha256.slice(0, 12)
/** Every long id in a text by its end. */
export const withShortIds = (text: string): string => text.replace(UUID, shortId)

const LONG = { whole: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, part: /^[0-9a-f-]{4,35}$/ }
const FORMS: Readonly<Record<Kind, { whole: RegExp; part: RegExp }>> = {
  task: LONG,
  question: LONG,
  alert: LONG,
  session: { whole: /^s[a-z2-7]{15}$/, part: /^[a-z2-7]{4,15}$/ },
  artifact: { whole: /^[0-9a-f]{64}$/, part: /^[0-9a-f]{4,63}$/ },
}
const ENOUGH = 3

async function found(call: Connection['call'], kind: Kind, part: string): Promise<string[]> {
  const page = { part, limit: ENOUGH }
  if (kind === 'task') return ((await call('task.list', page)) as { tasks: TaskView[] }).tasks.map(({ id }) => id)
  if (kind === 'session')
    return ((await call('session.list', { ...page, all: 'true' })) as { sessions: SessionView[] }).sessions.map(
      ({ id }) => id,
    )
  if (kind === 'artifact') {
    const of = async (quarantined: string) =>
      ((await call('artifact.list', { ...page, quarantined })) as { artifacts: ArtifactView[] }).artifacts
    const all = [...(await of('false')), ...(await of('true'))]
    return [...new Set(all.map(({ sha256 }) => sha256))]
  }
  // Few of these are open at a time, and all of them are in one answer.
  const ids =
    kind === 'alert'
      ? ((await call('alert.list', { all: 'true' })) as { alerts: AlertView[] }).alerts
      : ((await call('approval.list', { all: 'true' })) as { approvals: ApprovalView[] }).approvals
  return ids.map(({ id }) => id).filter((id) => id.startsWith(part) || id.endsWith(part))
}

/** The whole id. @throws Problem where it can be no part of one, or none or several have it */
export async function wholeId(call: Connection['call'], kind: Kind, text: string): Promise<string> {
  const { whole, part } = FORMS[kind]
  if (whole.test(text)) return text
  const next = `\`hub ${kind === 'question' ? 'approval' : kind} list\` shows them`
  if (!part.test(text))
    throw usage(
      `${JSON.stringify(text)} is not the id of a${kind.startsWith('a') ? 'n' : ''} ${kind}, nor 4 or more characters of one`,
      next,
    )
  const ids = await found(call, kind, text)
  const [only] = ids
  if (ids.length === 1 && only !== undefined) return only
  if (ids.length === 0) {
    const code = kind === 'question' || kind === 'alert' ? 'conflict' : `unknown_${kind}`
    throw new Problem(code, 'refused', `no ${kind} has an id that begins or ends with ${text}`, next)
  }
  const some = ids.slice(0, ENOUGH).join(', ')
  throw usage(`${text} begins or ends the id of more than one ${kind}: ${some}`, 'write more of it')
}

/** Where ids of other things stand in a request, by its operation or for all. */
function kindOf(operation: OperationName, key: string): Kind | undefined {
  if (key === 'task' || key === 'parent') return 'task'
  if (key === 'alert') return 'alert'
  if (key !== 'id') return undefined
  const [group] = operation.split('.')
  if (group === 'task' || group === 'session') return group
  return operation === 'approval.answer' ? 'question' : undefined
}

/** The same connection for a person: parts of ids are made whole before anything is asked. */
export function withParts(hub: Connection): Connection {
  const { call } = hub
  const whole = (kind: Kind, text: string) => wholeId(call, kind, text)
  return {
    ...hub,
    async call(operation, request = {}, options) {
      const made = { ...request }
      for (const [key, value] of Object.entries(request)) {
        const kind = kindOf(operation, key)
        if (kind !== undefined && typeof value === 'string') made[key] = await whole(kind, value)
      }
      return await call(operation, made, options)
    },
    fetch: async (sha256, quarantined) => await hub.fetch(await whole('artifact', sha256), quarantined),
    async *events({ task, ...from }, signal, onLost) {
      const of = task === undefined ? from : { ...from, task: await whole('task', task) }
      yield* hub.events(of, signal, onLost)
    },
  }
}
