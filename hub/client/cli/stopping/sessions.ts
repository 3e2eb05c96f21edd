/** `hub session ...`: what runs now, one container each. */
import { RELAXED } from '../../../protocol/relax.ts'
import type { EvidenceView, HardeningView, SessionView } from '../../answers.ts'
import { EXIT, usage } from '../../problem.ts'
import { requireAgent } from '../agents/names.ts'
import { type Context, given, pageOf, type Run, showList, stopped } from '../context.ts'
import { shortId } from '../ids.ts'
import {
  type Cell,
  clean,
  cleanLines,
  columns,
  countOf,
  facts,
  type Paint,
  sizeText,
  spanWords,
  whenText,
} from '../text.ts'
import { turnTable } from '../work/turn-text.ts'

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
      each.authority?.relax === undefined ? each.agent : `${each.agent} (${each.authority.relax.join(', ')})`,
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
    const page = await hub.call('session.list', given({ limit: 100, cursor }))
    found.push(...page.sessions)
    cursor = page.next ?? undefined
  } while (cursor !== undefined && found.length < 10_000)
  return found
}

export const list: Run = async (context, _, options) => {
  const request = { ...pageOf(options), ...(options.all === true ? { all: 'true' } : {}) }
  const answer = await context.hub.call('session.list', request)
  const table = (rows: readonly SessionView[]) => sessionTable(rows, Date.now(), context.terminal.paint)
  showList(context, answer.sessions, { next: answer.next, empty: 'no sessions: nothing runs', table })
  return EXIT.done
}

const listText = (value: unknown): string =>
  Array.isArray(value) ? value.join(', ') : value === undefined || value === null ? '' : String(value)

/** One row for each fact that applies, in words (fault C22). */
function sessionRows(session: SessionView, nowMs: number): [string, Cell][] {
  const { agent, task, containerName, containerId, imageId, authority } = session
  const rows: [string, Cell | undefined][] = [
    ['session', session.id],
    ['state', stateCell(session)],
    ['agent', agent],
    ['task', task ?? ''],
    ['why', session.detail],
    ['left', session.leftBehind ? `its container, of which nothing runs: ${session.leftBehind}` : ''],
    ['unreadable', session.unreadable ?? ''],
    ['begun', whenText(session.createdAtMs, nowMs)],
    ['ended', session.endedAtMs ? whenText(session.endedAtMs, nowMs) : ''],
    ['ends', session.endedAtMs ? '' : whenText(session.expiresAtMs, nowMs)],
    ['may wait', session.waitLeftMs && !session.endedAtMs ? `${spanWords(session.waitLeftMs)} for your answers` : ''],
    ['mail', session.mailbox === 0 ? '' : countOf(session.mailbox, 'message')],
    ['container', [containerName, containerId?.slice(0, 12)].filter(Boolean).join(' ')],
    ['image', imageId ?? ''],
    ['may message', listText(authority?.message)],
    ['may delegate', listText(authority?.delegate)],
    ['topics', listText(authority?.topics)],
    ['secrets', listText(authority?.secrets)],
    ['may reach', listText(authority?.egress)],
    ['relaxed', (authority?.relax ?? []).map((each) => `${each}: ${RELAXED[each]}`).join('; ')],
    ['capabilities', listText(authority?.capabilities)],
  ]
  return rows.filter((row): row is [string, Cell] => row[1] !== undefined && row[1] !== '')
}

/** Which sockets the programs of a session may open. */
const SOCKETS: Readonly<Record<HardeningView['sockets'], string>> = {
  unix: 'Unix sockets alone',
  egress: 'Unix sockets, and TCP on its own loopback, since it has egress',
  other: 'others than the hub allows',
}

export const show: Run = async ({ hub, json, terminal }, [id = ''], options) => {
  const request = { id, ...(options.hardening === true ? { hardening: 'true' } : {}) }
  const answer = await hub.call('session.show', request)
  if (json) terminal.json(answer)
  else if (answer.hardening !== undefined) {
    const rows = answer.hardening.checks.map(({ name, pass, found, relaxed }) => {
      const moved = pass ? relaxed : undefined
      const result: Cell =
        moved === undefined
          ? { text: pass ? 'pass' : 'FAIL', style: pass ? 'green' : 'red' }
          : { text: 'relaxed', style: 'yellow' }
      return [result, name, moved === undefined ? found : `by card and rules: ${RELAXED[moved]}`]
    })
    terminal.out(columns(['RESULT', 'CHECK', 'FOUND'], rows, terminal.paint))
    terminal.out(`sockets: ${SOCKETS[answer.hardening.sockets]}`)
    const relaxed = answer.hardening.relaxed ?? []
    terminal.out(`relaxed: ${relaxed.length === 0 ? 'nothing' : relaxed.map((each) => RELAXED[each]).join('; ')}`)
  } else {
    const rows = sessionRows(answer.session, Date.now())
    if (answer.closing) rows.push(['closed', answer.closing])
    terminal.out(facts(rows, terminal.paint))
    if (answer.turns?.length) terminal.out(`\n${turnTable(answer.turns, terminal.paint)}`)
  }
  return answer.hardening?.pass === false ? EXIT.fault : EXIT.done
}

/**
 * Stops the named sessions, all, or all of one agent; the last two ask first. After `--all` nothing new starts until `hub resume`: waiting
 * tasks would take their places at once (docs/safety.md 5). After `--agent` waiting tasks do start, unless the agent is suspended.
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
  // If there is nothing to stop, the mode stays. With --agent other agents go on (fault C5).
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
    terminal.out(agent === undefined ? 'there is no session to stop' : `no session of ${agent} to stop`)
  else if (agent !== undefined)
    terminal.note(`tasks that wait for ${agent} will start new sessions; \`hub agent suspend ${agent}\` prevents that`)
  return EXIT.done
}

export const logs: Run = async ({ hub, json, terminal }, [id = '']) => {
  const answer = await hub.call('session.logs', { id })
  if (json) terminal.json(answer)
  else if (answer.text !== '') terminal.out(cleanLines(answer.text.replace(/\n$/, '')))
  return EXIT.done
}

/** The id of a whole token; any other text is taken as the id itself. */
function tokenId(text: string): string {
  const payload = text.split('.')[1]
  if (payload === undefined) return text
  try {
    return String((JSON.parse(Buffer.from(payload, 'base64url').toString()) as { jti?: unknown }).jti)
  } catch {
    throw usage('--token: this is not a token')
  }
}

/** Ends a session that is not trusted any more, or only one of its tokens. */
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

export const quarantine: Run = async ({ hub, json, terminal }, [id = '']) => {
  const answer = await hub.call('session.quarantine', { id }, { deadlineMs: 60_000 })
  const { evidence, withheld, consumers, task } = answer
  if (json) terminal.json(answer)
  else {
    terminal.out(`${id} is quarantined; its task ${task} failed`)
    terminal.out(evidence.folder === null ? 'no evidence could be kept' : `evidence: ${clean(evidence.folder)}`)
    for (const { name, bytes, cut } of evidence.files)
      terminal.out(`  ${clean(name)}  ${sizeText(bytes)}${cut ? ' (cut)' : ''}`)
    terminal.out(
      withheld === null
        ? 'its container is gone, but the database cannot be written, so its artifacts are not withheld yet; run this again later'
        : `${countOf(withheld.length, 'artifact is', 'artifacts are')} withheld; \`hub artifact list --task ${task} --quarantined\` shows them`,
    )
    for (const each of consumers)
      terminal.out(`  read by ${each.agent ?? 'an agent'} in ${each.session}, task ${each.task ?? '?'}`)
  }
  for (const { part, reason } of evidence.faults) terminal.note(`not captured: ${part}: ${reason}`)
  return EXIT.done
}

const evidenceTable = (bundles: readonly EvidenceView[], nowMs: number, paint: Paint): string =>
  columns(
    ['CAPTURED', 'SESSION', 'AGENT', 'SIZE', 'STATE', 'WHY', 'FOLDER'],
    bundles.map(({ capturedAtMs, session, agent, bytes, state, why, folder }) => [
      whenText(capturedAtMs, nowMs),
      session,
      agent ?? '',
      sizeText(bytes),
      state === 'whole' ? state : { text: state, style: 'red' },
      why ?? '',
      folder,
    ]),
    paint,
  )

/** What was kept of sessions that were stopped for security. Of one session, the digests are compared with the audit log. */
export const evidence: Run = async (context, [session], options) => {
  const { limit } = pageOf(options)
  const answer = await context.hub.call('session.evidence', given({ session, limit }))
  const empty = `no evidence is kept${session === undefined ? '' : ` of ${session}`}; sessions that are stopped for security leave some`
  const table = (rows: readonly EvidenceView[]) => {
    const digests = rows.flatMap(({ folder, sha256, recorded }) =>
      recorded === null
        ? []
        : [`${clean(folder)}: SHA-256 of its manifest ${sha256 ?? 'none'}, in the audit log ${recorded}`],
    )
    return [evidenceTable(rows, Date.now(), context.terminal.paint), ...digests].join('\n')
  }
  showList(context, answer.evidence, { empty, table })
  return answer.evidence.some(({ state }) => state === 'changed') ? EXIT.fault : EXIT.done
}
