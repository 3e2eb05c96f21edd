/**
 * The event feed as server-sent events (S0-7). It can be resumed from a number.
 *
 * V1. A reader sees only events that show no more than it could read otherwise (`seenWith` in protocol/events.ts).
 * V2. `event: lost` says that earlier events are gone: before the first one, or in between if one could not be written.
 * V3. Who follows one task hears `event: end` after the event of its end, and the stream is over.
 */
import type { ServerResponse } from 'node:http'
import { HubError } from '../../base/errors.ts'
import type { Events } from '../../guard/events.ts'
import { mayRead, type Principal } from '../../guard/principal.ts'
import { EVENTS, type HubEvent } from '../../protocol/events.ts'
import { taskMachine } from '../../protocol/task.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import { type Handlers, handler } from '../serve.ts'

/** A task that is followed: whether it had ended when the stream was asked for, and when it began. */
export interface Followed {
  task: string
  isOver: boolean
  createdAtMs: number
}

export const eventHandlers = ({ tasks }: { tasks: Pick<Tasks, 'task'> }): Handlers => ({
  'event.stream': handler({
    effect: ({ principal }, { task: id }: { task?: string }): Followed | undefined => {
      if (id === undefined) return undefined
      if (!mayRead(principal, 'task.show'))
        throw new HubError('forbidden', 'to follow a task a token needs the action task.show beside event.stream')
      const task = tasks.task(id)
      if (task === undefined) throw new HubError('unknown_task', `there is no task with the id ${id}`)
      return { task: id, isOver: taskMachine.isTerminal(task.state), createdAtMs: task.createdAtMs }
    },
  }),
})

export interface Feed {
  since: number
  wanted: (event: HubEvent) => boolean
  /** Of one task; of everything without it. */
  of: Followed | undefined
  /** Whether the reader may still read. */
  holds?: () => boolean
}

/** What this reader sees, of everything or of one task. */
export const wantedBy =
  (principal: Principal, task: string | undefined) =>
  ({ type, subject, data }: HubEvent): boolean =>
    (task === undefined || subject === `task:${task}` || data.task === task) &&
    mayRead(principal, EVENTS[type].seenWith)

const isEndOf = ({ type, subject }: HubEvent, { task }: Followed): boolean =>
  type === 'hub.task.completed.v1' && subject === `task:${task}`

/** Whether nothing follows what this reader has. */
export function isAtEnd({ since, wanted, of }: Feed, events: Events): boolean {
  const { events: past, lost } = events.since(since)
  return of?.isOver === true && !lost && !past.some(wanted)
}

const BUFFERED_BYTES_MAX = 1024 * 1024
/** Past events are written in pieces of about this size: all at once would be more than a reader may leave waiting. */
const PIECE_BYTES = 256 * 1024
const KEEPALIVE_MS = 15_000
const LOST = 'event: lost\ndata: {"detail":"older events are gone"}\n\n'
const END = 'event: end\ndata: {"detail":"the task has ended"}\n\n'

/** Streams until the reader goes away or may not read any more, or the task has ended that it follows; one that does not drain is cut off (T67). */
export function streamEvents(
  response: ServerResponse,
  feed: Feed,
  parts: { events: Events; after: (delayMs: number, fn: () => void) => { cancel(): void } },
): void {
  const { events, after } = parts
  const { wanted, of, holds = () => true } = feed
  // A reader that left while the stream was being admitted has nothing to close.
  if (response.closed || response.destroyed) return
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    connection: 'keep-alive',
  })
  const write = (text: string) => {
    if (response.destroyed || response.writableEnded) return
    if (!holds() || response.writableLength > BUFFERED_BYTES_MAX) response.destroy()
    else response.write(text)
  }
  let from = feed.since
  let end: (() => void) | undefined
  /** Since the last beat, while past events are still being written. */
  let hasRead = true

  function finish(): void {
    write(END)
    end?.()
    response.end()
  }

  function send(event: HubEvent): void {
    if (response.writableEnded || !wanted(event)) return
    let text: string
    try {
      text = JSON.stringify(event)
    } catch (thrown) {
      write(LOST)
      throw thrown
    }
    write(`id: ${event.sequence}\nevent: ${event.type}\ndata: ${text}\n\n`)
    if (of !== undefined && isEndOf(event, of)) finish()
  }

  /** Everything of this task from its beginning was asked for, and some of it may be gone. */
  const isLate = () => from === 0 && of !== undefined && of.createdAtMs <= events.wholeAfterMs()

  function catchUp(): void {
    if (response.destroyed) return
    hasRead = true
    const { events: past, lost } = events.since(from)
    if (lost || isLate()) write(LOST)
    for (const event of past) {
      if (response.writableLength > PIECE_BYTES) return void response.once('drain', catchUp)
      send(event)
      from = event.sequence
      if (response.writableEnded) return
    }
    if (of?.isOver === true) finish()
    else end = events.subscribe(send)
  }
  let timer = after(KEEPALIVE_MS, beat)
  function beat(): void {
    // A reader that reads no past event for this long is cut off.
    if (end === undefined && !hasRead) response.destroy()
    hasRead = false
    write(': still here\n\n')
    timer = after(KEEPALIVE_MS, beat)
  }
  write(': here\n\n')
  catchUp()
  response.on('close', () => {
    end?.()
    timer.cancel()
  })
  response.on('error', () => response.destroy())
}
