/** `hub device`, `hub token`: what else of yours may speak to the hub: webhooks, apps with rights, automation with listed actions. */
import type { DeviceView } from '../answers.ts'
import { EXIT, usage } from '../problem.ts'
import { type Context, given, type Run, showList, spanOption } from './context.ts'
import { columns, type Paint, whenText } from './text.ts'

const stateOf = ({ revokedAtMs, expiresAtMs }: DeviceView, nowMs: number) => {
  if (revokedAtMs !== null) return { text: `revoked ${whenText(revokedAtMs, nowMs)}`, style: 'dim' as const }
  if (expiresAtMs === null) return 'in force'
  if (expiresAtMs <= nowMs) return { text: `expired ${whenText(expiresAtMs, nowMs)}`, style: 'dim' as const }
  return `until ${whenText(expiresAtMs, nowMs)}`
}
const table = (rows: readonly DeviceView[], nowMs: number, paint: Paint): string =>
  columns(
    ['NAME', 'KIND', 'MAY', 'STATE', 'LAST USED'],
    rows.map((row) => [
      row.name,
      row.kind,
      row.scope.join(' '),
      stateOf(row, nowMs),
      row.usedAtMs === null ? 'never' : whenText(row.usedAtMs, nowMs),
    ]),
    paint,
  )

/** Words between commas or spaces. */
export const listOf = (text: unknown): string[] =>
  String(text ?? '')
    .split(/[\s,]+/)
    .filter((word) => word !== '')

/** The secret is shown here and never again. */
function sayMade({ json, terminal }: Context, answer: unknown, note: string): number {
  const made = answer as { url: string | null; path: string; secret?: string }
  if (json) terminal.json(made)
  else {
    terminal.out(made.secret ?? made.url ?? made.path)
    terminal.note(`shown this once; ${note}`)
    if (made.url === null) terminal.note('the loopback listener is off (http.port: 0), so nothing answers there')
    else if (made.secret !== undefined) terminal.note(`send it to ${made.url}/... as: Authorization: Bearer SECRET`)
  }
  return EXIT.done
}

export const deviceAdd: Run = async (context, [name = ''], { webhook, rights, expires }) => {
  if ((webhook === true) === (rights !== undefined))
    throw usage('say which kind: --webhook, or --rights with some of view, heartbeat, approve, stop, resume')
  const expiresInMs = spanOption('--expires', expires)
  const wish = webhook === true ? { kind: 'webhook' } : { kind: 'app', rights: listOf(rights) }
  const answer = await context.hub.call('device.add', given({ name, ...wish, expiresInMs }))
  const heartbeats = webhook === true || !listOf(rights).includes('resume') ? 'weak' : 'strong'
  const note = {
    weak: 'its heartbeat is weak: it prolongs, and never ends safe mode',
    strong: 'its heartbeat is strong',
  }
  return sayMade(context, answer, note[heartbeats])
}

export const tokenCreate: Run = async (context, [name = ''], { actions, expires }) => {
  const expiresInMs = spanOption('--expires', expires) ?? 30 * 86_400_000
  const answer = await context.hub.call('token.create', { name, actions: listOf(actions), expiresInMs })
  return sayMade(context, answer, 'it does what it lists, and nothing of presence, approval or rights')
}

const listing =
  (family: 'device' | 'token'): Run =>
  async (context) => {
    const answer = (await context.hub.call(`${family}.list`)) as Record<string, DeviceView[]>
    const show = (rows: readonly DeviceView[]) => table(rows, Date.now(), context.terminal.paint)
    showList(context, answer[`${family}s`] ?? [], { empty: `no ${family} was made`, table: show })
    return EXIT.done
  }
export const deviceList = listing('device')
export const tokenList = listing('token')

const revoking =
  (family: 'device' | 'token'): Run =>
  async ({ hub, json, terminal }, [name = '']) => {
    const answer = await hub.call(`${family}.revoke`, { name })
    if (json) terminal.json(answer)
    else terminal.out(`revoked: ${name} can do nothing any more`)
    return EXIT.done
  }
export const deviceRevoke = revoking('device')
export const tokenRevoke = revoking('token')
