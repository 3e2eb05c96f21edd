/** `hub device`: what else of yours may speak to the hub. Today: webhooks, which give weak heartbeats. */
import type { DeviceView } from '../answers.ts'
import { EXIT, usage } from '../problem.ts'
import { type Run, showList } from './context.ts'
import { columns, type Paint, whenText } from './text.ts'

const table = (devices: readonly DeviceView[], nowMs: number, paint: Paint): string =>
  columns(
    ['NAME', 'KIND', 'STATE', 'MADE', 'LAST USED'],
    devices.map(({ name, kind, createdAtMs, usedAtMs, revokedAtMs }) => [
      name,
      kind,
      revokedAtMs === null ? 'in force' : { text: `revoked ${whenText(revokedAtMs, nowMs)}`, style: 'dim' },
      whenText(createdAtMs, nowMs),
      usedAtMs === null ? 'never' : whenText(usedAtMs, nowMs),
    ]),
    paint,
  )

export const deviceAdd: Run = async ({ hub, json, terminal }, [name = ''], { webhook }) => {
  if (webhook !== true) throw usage('say which kind: --webhook is the one there is')
  const made = (await hub.call('device.add', { name, kind: 'webhook' })) as { url: string | null; path: string }
  if (json) terminal.json(made)
  else {
    terminal.out(made.url ?? made.path)
    terminal.note('shown this once; POST to it is a weak heartbeat: it prolongs, and never ends safe mode')
    if (made.url === null) terminal.note('the loopback listener is off (http.port: 0), so nothing answers there')
  }
  return EXIT.done
}

export const deviceList: Run = async (context) => {
  const { devices } = (await context.hub.call('device.list')) as { devices: DeviceView[] }
  const show = (rows: readonly DeviceView[]) => table(rows, Date.now(), context.terminal.paint)
  showList(context, devices, { empty: 'no device was added', table: show })
  return EXIT.done
}

export const deviceRevoke: Run = async ({ hub, json, terminal }, [name = '']) => {
  const answer = await hub.call('device.revoke', { name })
  if (json) terminal.json(answer)
  else terminal.out(`revoked: ${name} can do nothing any more`)
  return EXIT.done
}
