/** `hub session ...`: what runs now, one container each. */
import type { SessionView } from '../answers.ts'
import { EXIT, usage } from '../problem.ts'
import { requireAgent } from './agent-names.ts'
import { type Context, given, pageOf, type Run, showList, stopped } from './context.ts'
import { shortId } from './ids.ts'
import { type Cell, cleanLines, columns, countOf, facts, type Paint, spanWords, whenText } from './text.ts'

function stateCell({ state, exit, stalledSinceMs }: SessionView): Cell {
  if (exit !== null) return `${state} (${exit})`
  return stalledSinceMs ? { text: `${state} (stalled)`, style: 'yellow' } : state
}

const sessionTable = (sessions: readonly SessionView[], nowMs: number, paint: Paint): string =>
  columns(
    ['SESSION', 'STATE', 'AGENT', 'TASK', 'CONTAINER', 'MAIL', 'ENDS'],
    sessions.map((each) => [
      each.id,
      stateCell(each),
      each.agent,
      shortId(each.task ?? ''),
      each.containerId?.slice(0, 12) ?? '',
      String(each.mailbox),
      each.state === 'recycled' ? '' : whenText(each.expiresAtMs, nowMs),
    ]),
    paint,
  )

/** All live sessions, page after page. */
async function everySession({ hub }: Context): Promise<SessionView[]> {
  const found: SessionView[] = []
  let cursor: string | undefined
  do {
    const page = (await hub.call('session.list', given({ limit: 100, cursor }))) as {
      sessions: SessionView[]
      next: string | null
    }
    found.push(...page.sessions)
    cursor = page.next ?? undefined
  } while (cursor !== undefined && found.length < 10_000)
  return found
}

export const list: Run = async (context, _, options) => {
  const request = { ...pageOf(options), ...(options.all === true ? { all: 'true' } : {}) }
  const answer = (await context.hub.call('session.list', request)) as { sessions: SessionView[]; next: string | null }
  const table = (rows: readonly SessionView[]) => sessionTable(rows, Date.now(), context.terminal.paint)
  showList(context, answer.sessions, { next: answer.next, empty: 'no sessions: nothing runs', table })
  return EXIT.done
}

/** What only one session in full shows. */
interface SessionInFull extends SessionView {
  containerName?: string
  imageId?: string
  endedAtMs?: number | null
  detail?: string
  unreadable?: string | null
  waitLeftMs?: number
  authority?: Record<string, unknown>
}

const listText = (value: unknown): string =>
  Array.isArray(value) ? value.join(', ') : value === undefined || value === null ? '' : String(value)

/** Each in words, what does not hold left out (fault C22). */
function sessionRows(session: SessionInFull, nowMs: number): [string, Cell][] {
  const { agent, task, containerName, containerId, imageId, authority = {} } = session
  const rows: [string, Cell | undefined][] = [
    ['session', session.id],
    ['state', stateCell(session)],
    ['agent', agent],
    ['task', task ?? ''],
    ['why', session.detail],
    ['unreadable', session.unreadable ?? ''],
    ['begun', whenText(session.createdAtMs, nowMs)],
    ['ended', session.endedAtMs ? whenText(session.endedAtMs, nowMs) : ''],
    ['ends', session.endedAtMs ? '' : whenText(session.expiresAtMs, nowMs)],
    [
      'may wait',
      session.waitLeftMs && !session.endedAtMs ? `${spanWords(session.waitLeftMs)} for answers of yours` : '',
    ],
    ['mail', session.mailbox === 0 ? '' : countOf(session.mailbox, 'message')],
    ['container', [containerName, containerId?.slice(0, 12)].filter(Boolean).join(' ')],
    ['image', imageId ?? ''],
    ['may message', listText(authority.message)],
    ['may delegate', listText(authority.delegate)],
    ['topics', listText(authority.topics)],
    ['secrets', listText(authority.secrets)],
    ['capabilities', listText(authority.capabilities)],
  ]
  return rows.filter((row): row is [string, Cell] => row[1] !== undefined && row[1] !== '')
}

interface Hardening {
  pass: boolean
  checks: { name: string; pass: boolean; found: string }[]
}

export const show: Run = async ({ hub, json, terminal }, [id = ''], options) => {
  const request = { id, ...(options.hardening === true ? { hardening: 'true' } : {}) }
  const answer = (await hub.call('session.show', request)) as { session?: SessionView; hardening?: Hardening }
  if (json) terminal.json(answer)
  else if (answer.hardening !== undefined) {
    const rows = answer.hardening.checks.map(({ name, pass, found }) => {
      return [{ text: pass ? 'pass' : 'FAIL', style: pass ? 'green' : 'red' } as const, name, found]
    })
    terminal.out(columns(['RESULT', 'CHECK', 'FOUND'], rows, terminal.paint))
  } else {
    terminal.out(facts(sessionRows(answer.session as SessionInFull, Date.now()), terminal.paint))
  }
  return answer.hardening?.pass === false ? EXIT.fault : EXIT.done
}

/**
 * Stops one, all, or all of one agent; asks before more than the one named. With `--all` nothing new starts until `hub resume`: what waits
 * would take their places at once (safety.md section 5). Of one agent what waits goes on; `hub agent suspend` keeps it from starting.
 */
export const stop: Run = async (context, args, options) => {
  const { hub, json, terminal } = context
  const agent = options.agent as string | undefined
  const wide = options.all === true || agent !== undefined
  if (wide === args.length > 0) throw usage('name sessions, or say --all or --agent NAME')
  if (agent !== undefined) await requireAgent(hub, agent)
  const chosen = wide
    ? (await everySession(context)).filter((each) => agent === undefined || each.agent === agent).map(({ id }) => id)
    : [...args]
  const isAll = options.all === true
  if (wide && chosen.length > 0) {
    const question = `Stop ${countOf(chosen.length, 'session')}${isAll ? ', and start nothing new until `hub resume`' : ''}?`
    if (!(await terminal.confirm(question, options.yes === true))) return EXIT.refused
  }
  // Nothing to stop changes nothing; of one agent the others are none of this (fault C5).
  if (isAll && chosen.length > 0) {
    await hub.call('mode.safe', { reason: 'session stop --all' })
    terminal.note('nothing new starts until `hub resume`')
  }
  const answers: unknown[] = []
  for (const id of chosen) {
    const answer = await hub.call('session.stop', { id })
    answers.push(answer)
    if (!json) terminal.out(`${id} ${stopped(answer, 'told to stop')}`)
  }
  if (json) terminal.json(answers)
  else if (chosen.length === 0)
    terminal.out(agent === undefined ? 'no session to stop' : `no session of ${agent} to stop`)
  else if (agent !== undefined)
    terminal.note(`what waits for ${agent} starts again; \`hub agent suspend ${agent}\` keeps it from that`)
  return EXIT.done
}

export const logs: Run = async ({ hub, json, terminal }, [id = '']) => {
  const answer = (await hub.call('session.logs', { id })) as { text: string }
  if (json) terminal.json(answer)
  else if (answer.text !== '') terminal.out(cleanLines(answer.text.replace(/\n$/, '')))
  return EXIT.done
}

/** The id of a token given whole, as it was found somewhere; anything else is taken for the id itself. */
function tokenId(text: string): string {
  const payload = text.split('.')[1]
  if (payload === undefined) return text
  try {
    return String((JSON.parse(Buffer.from(payload, 'base64url').toString()) as { jti?: unknown }).jti)
  } catch {
    throw usage('--token: this is no token')
  }
}

/** Ends a session that is not to be trusted, or only one of its tokens. */
export const revoke: Run = async ({ hub, json, terminal }, [id = ''], { token }) => {
  const jti = token === undefined ? undefined : tokenId(String(token))
  const answer = await hub.call('session.revoke', given({ id, jti }))
  if (json) terminal.json(answer)
  else
    terminal.out(
      jti === undefined ? `${id} ${stopped(answer, 'revoked')}` : `the token ${jti} of ${id} is refused from now on`,
    )
  return EXIT.done
}
