import type { Answered } from '../../answers.ts'
import { EXIT } from '../../problem.ts'
import { type Context, given, type Run, typed } from '../context.ts'
import { clean } from '../text.ts'

async function showMode({ json, terminal }: Context, answer: Answered<'mode.safe' | 'mode.resume'>, done: string) {
  if (json) terminal.json(answer)
  else terminal.out(answer.mode === undefined ? done : `${done}; the mode is ${clean(answer.mode)} (\`hub status\`)`)
  return EXIT.done
}

export const safeMode: Run = async (context, _, options) =>
  showMode(context, await context.hub.call('mode.safe', given({ reason: typed(options.reason) })), 'nothing new starts')

export const resume: Run = async (context, _, { acceptHead, alert }) => {
  const request = given({ acceptHead: typed(acceptHead), alert: typed(alert) })
  return showMode(context, await context.hub.call('mode.resume', request), 'resumed')
}
