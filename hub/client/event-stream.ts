/** Server-sent events to hub events: `data:` lines up to an empty one; comments are passed over. Pure but for its source. */
import type { HubEvent } from '../protocol/events.ts'
import { Problem } from './problem.ts'

/** No event is larger than the largest message type allows, with room for its frame. */
const EVENT_CHARACTERS_MAX = 2 * 1024 * 1024

/**
 * Yields each event as it is complete; `onLost` hears that some before the next are gone.
 * @throws Problem where one is no JSON or has no end.
 */
export async function* readEvents(
  source: AsyncIterable<Buffer | string>,
  onLost: () => void = () => undefined,
): AsyncGenerator<HubEvent> {
  const decoder = new TextDecoder('utf-8')
  let rest = ''
  let data: string[] = []
  let isLoss = false
  for await (const part of source) {
    rest += typeof part === 'string' ? part : decoder.decode(part, { stream: true })
    if (rest.length > EVENT_CHARACTERS_MAX) {
      throw new Problem('internal', 'fault', 'the hub sent an event without an end', 'see `hub doctor`')
    }
    const lines = rest.split(/\r?\n/)
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line === 'event: lost') isLoss = true
      else if (line.startsWith('data:')) data.push(line.slice(line.startsWith('data: ') ? 6 : 5))
      else if (line === '' && data.length > 0) {
        const text = data.join('\n')
        data = []
        if (isLoss) onLost()
        else yield parseEvent(text)
        isLoss = false
      }
    }
  }
}

function parseEvent(text: string): HubEvent {
  try {
    return JSON.parse(text) as HubEvent
  } catch {
    throw new Problem('internal', 'fault', 'the hub sent an event that is not JSON', 'see `hub doctor`')
  }
}
