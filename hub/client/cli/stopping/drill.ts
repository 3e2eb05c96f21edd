/** `hub drill`: hub and watchdog each stop a canary session, and every alert channel is tried. Nothing else is touched. */
import { EXIT } from '../../problem.ts'
import type { Run } from '../context.ts'
import { clean, columns } from '../text.ts'

/** Enough to start and stop two canaries, and for the slowest channel. */
const DRILL_MS = 300_000

export const drill: Run = async ({ hub, json, terminal }, _, { withContact }) => {
  terminal.note('a test agent is started and stopped, by the hub and by the watchdog; this takes up to a minute')
  const view = await hub.call('hub.drill', { withContact: withContact === true }, { deadlineMs: DRILL_MS })
  if (json) terminal.json(view)
  else if (view.skipped !== null) terminal.out(`no drill was run: ${clean(view.skipped)}`)
  else {
    const rows = view.steps.map(({ name, ok, detail, ms }) => {
      return [{ text: ok ? 'good' : 'FAILED', style: ok ? 'green' : 'red' } as const, name, `${ms} ms`, clean(detail)]
    })
    terminal.out(columns(['RESULT', 'STEP', 'TIME', 'WHAT'], rows, terminal.paint))
  }
  if (view.skipped !== null) return EXIT.refused
  return view.ok ? EXIT.done : EXIT.fault
}
