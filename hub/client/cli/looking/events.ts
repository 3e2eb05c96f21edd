import type { HubEvent } from '../../../protocol/events.ts'
import { EXIT, toProblem } from '../../problem.ts'
import { type Run, typed, wholeOption } from '../context.ts'
import { clean, jsonText, stampText } from '../text.ts'

/** One event in one line: time, type, subject, data. */
export const eventLine = (event: HubEvent): string =>
  clean(
    `${stampText(Date.parse(event.time))} ${event.sequence} ${event.type.replace(/^hub\.|\.v1$/g, '')} ${event.subject} ${JSON.stringify(event.data)}`,
  )

/** Without `--follow` this much silence means that everything has been read. */
const STILL_MS = 500
const THERE_MS = 5_000
const AGAIN_MS = 1_000

/** Prints the events that the hub still has, oldest first; with `--follow` goes on until Ctrl-C, also across a restart of the hub. */
export const events: Run = async ({ hub, json, terminal }, _, options) => {
  const follow = options.follow === true
  let since = wholeOption('--since', options.since, 0, Number.MAX_SAFE_INTEGER) ?? 0
  const found: HubEvent[] = []
  const ending = new AbortController()
  let still: NodeJS.Timeout | undefined
  const rest = () => {
    clearTimeout(still)
    if (!follow) still = setTimeout(() => ending.abort(), STILL_MS)
  }
  const task = typed(options.task)
  const from = () => ({ ...(task === undefined ? {} : { task }), ...(since === 0 ? {} : { since }) })
  const lost = () => terminal.note('some events are lost: the hub keeps only the last 4096 since it started')
  // A hub that does not run is an error at the start. One that goes away later is waited for, and the person is told (fault C38).
  if (follow) await hub.call('health.show', {}, { deadlineMs: THERE_MS })
  let isOver = false
  const ended = () => {
    isOver = true
  }
  for (let isAway = false; ; ) {
    try {
      // Silence counts only once the feed is open: a slow hub has sent nothing yet.
      for await (const event of hub.events(from(), ending.signal, { lost, ended, opened: rest })) {
        rest()
        if (isAway) terminal.note('the hub is back; what follows happened since it started')
        isAway = false
        since = event.sequence
        if (!json) terminal.out(eventLine(event))
        else if (follow) terminal.out(jsonText(event).replaceAll(/\n\s*/g, ''))
        else found.push(event)
      }
    } catch (error) {
      const problem = toProblem(error)
      if (!ending.signal.aborted && (!follow || problem.kind !== 'unavailable')) throw problem
    } finally {
      clearTimeout(still)
    }
    if (!follow || isOver) break
    // The hub ended the feed, as in a restart. Sequence numbers continue after it, and the hub says which events are lost.
    if (!isAway) terminal.note('the hub has stopped; waiting for it to start again (Ctrl-C ends this)')
    isAway = true
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
  }
  if (json && !follow) terminal.json(found)
  return EXIT.done
}
