/** `hub device`, `hub token`: what else may call the hub for you: webhooks, apps with rights, automation with listed actions. */
import type { Right } from '../../../protocol/holders.ts'
import type { Answered, DeviceView } from '../../answers.ts'
import { EXIT, usage } from '../../problem.ts'
import { type Context, given, type Run, showList, spanOption } from '../context.ts'
import { columns, type Paint, whenText } from '../text.ts'

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

/** Words between commas or spaces; whether they are words that the operation knows is for its shape (`typed`). */
export const listOf = <Word extends string>(text: unknown): Word[] =>
  String(text ?? '')
    .split(/[\s,]+/)
    .filter((word): word is Word => word !== '')

/** The secret is shown here and never again. */
function sayMade({ json, terminal }: Context, made: Answered<'device.add' | 'token.create'>, note: string): number {
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
    throw usage('say what kind of device: --webhook, or --rights with some of view, heartbeat, approve, stop, resume')
  const expiresInMs = spanOption('--expires', expires)
  const wish =
    webhook === true ? ({ kind: 'webhook' } as const) : ({ kind: 'app', rights: listOf<Right>(rights) } as const)
  const answer = await context.hub.call('device.add', given({ name, ...wish, expiresInMs }))
  const heartbeats = webhook === true || !listOf(rights).includes('resume') ? 'weak' : 'strong'
  const note = {
    weak: 'its heartbeat is weak: it extends the deadline, and cannot end safe mode',
    strong: 'its heartbeat is strong',
  }
  return sayMade(context, answer, note[heartbeats])
}

export const tokenCreate: Run = async (context, [name = ''], { actions, expires }) => {
  const expiresInMs = spanOption('--expires', expires) ?? 30 * 86_400_000
  const answer = await context.hub.call('token.create', { name, actions: listOf(actions), expiresInMs })
  return sayMade(
    context,
    answer,
    'it can do only the listed actions, and never heartbeats, approvals or changes of rights',
  )
}

function showAll(context: Context, all: readonly DeviceView[], family: 'device' | 'token'): number {
  const show = (rows: readonly DeviceView[]) => table(rows, Date.now(), context.terminal.paint)
  showList(context, all, { empty: `no ${family} was made`, table: show })
  return EXIT.done
}
export const deviceList: Run = async (context) =>
  showAll(context, (await context.hub.call('device.list')).devices, 'device')
export const tokenList: Run = async (context) =>
  showAll(context, (await context.hub.call('token.list')).tokens, 'token')

const revoking =
  (family: 'device' | 'token'): Run =>
  async ({ hub, json, terminal }, [name = '']) => {
    const answer = await hub.call(`${family}.revoke`, { name })
    if (json) terminal.json(answer)
    else terminal.out(`revoked: ${name} can no longer do anything`)
    return EXIT.done
  }
export const deviceRevoke = revoking('device')
export const tokenRevoke = revoking('token')
