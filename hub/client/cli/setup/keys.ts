/** `hub keys`: which keys sign and verify agents' tokens. */
import type { KeyView } from '../../answers.ts'
import { EXIT } from '../../problem.ts'
import type { Context, Run } from '../context.ts'
import { columns, type Paint, whenText } from '../text.ts'

const keyTable = (keys: readonly KeyView[], nowMs: number, paint: Paint): string =>
  columns(
    ['KEY', 'STATE', 'VERIFIES UNTIL'],
    keys.map(({ kid, state, untilMs }) => [kid, state, untilMs === null ? '' : whenText(untilMs, nowMs)]),
    paint,
  )

const showing =
  (operation: 'keys.list' | 'keys.rotate'): Run =>
  async ({ hub, json, terminal }: Context) => {
    const { keys } = await hub.call(operation)
    if (json) terminal.json(keys)
    else terminal.out(keyTable(keys, Date.now(), terminal.paint))
    return EXIT.done
  }

export const list = showing('keys.list')
export const rotate = showing('keys.rotate')
