/**
 * Ids as a person types and reads them (fault C9). The last characters are shown, because they are random; the first are only the time.
 * A beginning or an end is enough if only one id has it.
 */
import type { OperationName } from '../../protocol/operations.ts'
import type { Connection } from '../connection.ts'
import { Problem, usage } from '../problem.ts'

export type Kind = 'task' | 'session' | 'question' | 'alert' | 'artifact'

const SHOWN = 8
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/** The end of a long id, which is enough to tell it from others. */
export const shortId = (id: string): string => (id.length > 20 ? id.slice(-SHOWN) : id)
/** The beginning of a digest; all its characters are equally random. */
export const shortDigest = (sha256: string): string => sha256.slice(0, 12)
/** Shortens every long id in a text. */
export const withShortIds = (text: string): string => text.replace(UUID, shortId)

const LONG = { whole: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, part: /^[0-9a-f-]{4,35}$/ }
/** The id of a trace is the id of the task at its root without dashes. */
const TRACE = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/
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
  // Its form has been checked already.
  const own = { own: true }
  if (kind === 'task') return (await call('task.list', page, own)).tasks.map(({ id }) => id)
  if (kind === 'session')
    return (await call('session.list', { ...page, all: 'true' }, own)).sessions.map(({ id }) => id)
  if (kind === 'artifact') {
    const of = async (quarantined: string) => (await call('artifact.list', { ...page, quarantined }, own)).artifacts
    const all = [...(await of('false')), ...(await of('true'))]
    return [...new Set(all.map(({ sha256 }) => sha256))]
  }
  // Few of these are open at a time, and all of them are in one answer.
  const ids =
    kind === 'alert'
      ? (await call('alert.list', { all: 'true' }, own)).alerts
      : (await call('approval.list', { all: 'true' }, own)).approvals
  return ids.map(({ id }) => id).filter((id) => id.startsWith(part) || id.endsWith(part))
}

/** The whole id. @throws Problem if the text cannot be part of an id, or if none or several ids have it */
export async function wholeId(call: Connection['call'], kind: Kind, text: string): Promise<string> {
  const { whole, part } = FORMS[kind]
  if (whole.test(text)) return text
  // As traces and metrics have it.
  if (kind === 'task' && TRACE.test(text)) return text.replace(TRACE, '$1-$2-$3-$4-$5')
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
  throw usage(`more than one ${kind} has an id that begins or ends with ${text}: ${some}`, 'type more characters of it')
}

/** The same for a text that may be of either kind, as where a session may be named by its task. @throws Problem as `wholeId` */
export async function idOfEither<Either extends Kind>(
  call: Connection['call'],
  kinds: readonly [Either, Either],
  text: string,
): Promise<{ kind: Either; id: string }> {
  const [first, second] = kinds
  const whole = kinds.find((kind) => FORMS[kind].whole.test(text))
  if (whole !== undefined) return { kind: whole, id: text }
  const able = kinds.filter((kind) => FORMS[kind].part.test(text) || (kind === 'task' && TRACE.test(text)))
  if (able.length === 0)
    throw usage(
      `${JSON.stringify(text)} is not the id of a ${first} or a ${second}, nor 4 or more characters of one`,
      `\`hub ${first} list\` and \`hub ${second} list\` show them`,
    )
  // Few texts can be part of both.
  const counts = await Promise.all(
    able.map(async (kind) => (able.length === 1 ? 1 : (await found(call, kind, text)).length)),
  )
  const having = able.filter((_, at) => (counts[at] ?? 0) > 0)
  if (having.length === 2)
    throw usage(`a ${first} and a ${second} have an id that begins or ends with ${text}`, 'type more characters of it')
  const kind = having[0] ?? first
  return { kind, id: await wholeId(call, kind, text) }
}

/** Which field of a request holds an id, and of what kind. */
function kindOf(operation: OperationName, key: string): Kind | undefined {
  if (key === 'task' || key === 'parent') return 'task'
  if (key === 'alert') return 'alert'
  if (key === 'session') return 'session'
  if (key !== 'id') return undefined
  if (operation === 'budget.raise') return 'task'
  const [group] = operation.split('.')
  if (group === 'task' || group === 'session') return group
  return group === 'approval' ? 'question' : undefined
}

/** The same connection, but parts of ids are completed before the request is sent. */
export function withParts(hub: Connection): Connection {
  const { call } = hub
  const whole = (kind: Kind, text: string) => wholeId(call, kind, text)
  return {
    ...hub,
    async call(operation, ...rest) {
      const made: Record<string, unknown> = { ...rest[0] }
      for (const [key, value] of Object.entries(made)) {
        const kind = kindOf(operation, key)
        if (kind !== undefined && typeof value === 'string') made[key] = await whole(kind, value)
      }
      // The same request with other ids in it.
      if (rest[0] !== undefined) Object.assign(rest, { 0: made })
      return await call(operation, ...rest)
    },
    fetch: async (sha256, quarantined) => await hub.fetch(await whole('artifact', sha256), quarantined),
    async *events({ task, ...from }, signal, on) {
      const of = task === undefined ? from : { ...from, task: await whole('task', task) }
      yield* hub.events(of, signal, on)
    },
  }
}
