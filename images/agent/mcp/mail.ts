/**
 * What waits for the tool `inbox`: messages of others, answers that came after their call had returned, and decisions of people. Each is handed out
 * once, to whoever asks first.
 */
import type { HubAgent, Message } from '../../../hub/client/agent.ts'

const ENTRIES_MAX = 512
const BYTES_MAX = 8 * 1024 ** 2
/** Of one answer of `inbox`; one entry always passes. */
const HANDED_BYTES_MAX = 128 * 1024

export type Entry = { kind: 'message' | 'answer' | 'approval' } & Record<string, unknown>

export interface Mail {
  /** False where there is no room. */
  add(entry: Entry): boolean
  /** A message of another agent; a request is remembered, so that `reply` can answer it. */
  hear(message: Message): void
  /** Waits at most `waitMs` for the first; takes nothing once `signal` is aborted. */
  take(max: number, waitMs: number, signal: AbortSignal): Promise<{ entries: Entry[]; left: number }>
  /** The request with this id that nobody has answered. */
  request(id: string): Message | undefined
  answered(id: string): void
}

export function createMail(hub: Pick<HubAgent, 'reply'>, warn: (text: string) => void): Mail {
  const kept: { entry: Entry; bytes: number }[] = []
  const requests = new Map<string, Message>()
  const waiting = new Set<() => void>()
  let bytesKept = 0

  function wakeOne(): void {
    const [wake] = waiting
    wake?.()
  }

  function add(entry: Entry): boolean {
    const bytes = Buffer.byteLength(JSON.stringify(entry))
    if (kept.length >= ENTRIES_MAX || bytesKept + bytes > BYTES_MAX) return false
    kept.push({ entry, bytes })
    bytesKept += bytes
    wakeOne()
    return true
  }

  function collect(max: number): Entry[] {
    const entries: Entry[] = []
    let bytes = 0
    for (let next = kept[0]; next !== undefined && entries.length < max; next = kept[0]) {
      if (entries.length > 0 && bytes + next.bytes > HANDED_BYTES_MAX) break
      kept.shift()
      bytes += next.bytes
      bytesKept -= next.bytes
      entries.push(next.entry)
    }
    return entries
  }

  /** Resolves with the next entry, or when it is over. Who was woken and takes nothing wakes the next. */
  const arrival = (over: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const end = () => {
        over.removeEventListener('abort', end)
        waiting.delete(end)
        resolve()
      }
      over.addEventListener('abort', end)
      waiting.add(end)
    })

  return {
    add,
    hear(message) {
      const { number: _, kind: __, messageKind, ...envelope } = message
      if (!add({ kind: 'message', messageKind, ...envelope })) {
        warn(`a message of type ${message.type} was not delivered: ${ENTRIES_MAX} wait for the tool inbox`)
        // If the reply cannot be sent any more, nobody waits for it.
        if (messageKind === 'request') hub.reply(message, { error: 'it does not read its messages' }).catch(() => {})
        return
      }
      if (messageKind !== 'request') return
      requests.set(message.id, message)
      const [oldest] = requests.keys()
      if (requests.size > ENTRIES_MAX && oldest !== undefined) requests.delete(oldest)
    },
    async take(max, waitMs, signal) {
      if (kept.length === 0 && waitMs > 0 && !signal.aborted)
        await arrival(AbortSignal.any([signal, AbortSignal.timeout(waitMs)]))
      const entries = signal.aborted ? [] : collect(max)
      if (kept.length > 0) wakeOne()
      return { entries, left: kept.length }
    },
    request: (id) => requests.get(id),
    answered: (id) => void requests.delete(id),
  }
}
