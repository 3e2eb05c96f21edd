/** The event feed as server-sent events, resumable from a sequence; a reader that does not drain is cut (T67). */
import type { ServerResponse } from 'node:http'
import type { Events } from '../guard/events.ts'
import type { HubEvent } from '../protocol/events.ts'

const BUFFERED_BYTES_MAX = 1024 * 1024
const KEEPALIVE_MS = 15_000

/** Streams until the reader goes away or may not read any more (`holds`). `wanted` filters. */
export function streamEvents(
  response: ServerResponse,
  query: { since: number; wanted: (event: HubEvent) => boolean; holds?: () => boolean },
  parts: { events: Events; after: (delayMs: number, fn: () => void) => { cancel(): void } },
): void {
  const { events, after } = parts
  const { holds = () => true } = query
  // Whoever left while the stream was being admitted closes nothing any more.
  if (response.closed || response.destroyed) return
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    connection: 'keep-alive',
  })
  const write = (text: string) => {
    if (response.destroyed) return
    if (!holds() || response.writableLength > BUFFERED_BYTES_MAX) response.destroy()
    else response.write(text)
  }
  const send = (event: HubEvent) => {
    if (query.wanted(event)) write(`id: ${event.sequence}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  }
  const { events: past, lost } = events.since(query.since)
  write(lost ? 'event: lost\ndata: {"detail":"older events are gone"}\n\n' : ': here\n\n')
  for (const event of past) send(event)
  const end = events.subscribe(send)
  let timer = after(KEEPALIVE_MS, beat)
  function beat() {
    write(': still here\n\n')
    timer = after(KEEPALIVE_MS, beat)
  }
  response.on('close', () => {
    end()
    timer.cancel()
  })
  response.on('error', () => response.destroy())
}
