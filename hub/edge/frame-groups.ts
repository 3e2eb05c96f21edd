/**
 * Group commit: the frames of one turn, of all sessions, go through the gate together (threats.md section 8).
 *
 * At most 256 or 5 ms, one commit, a savepoint each. What is left waits for the next turn, so that health and heartbeat are never starved.
 * The lines take turns, each in its own order; one of which a whole group waits is not read from until its frames have gone (T65).
 */
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import type { Gate } from '../guard/gate.ts'

export interface FrameGroups<Item> {
  add(item: Item): void
}

/** What a connection can do; a WebSocket. */
interface Peer {
  readonly isPaused: boolean
  pause(): void
  resume(): void
}

const GROUP_FRAMES_MAX = 256
const GROUP_MS_MAX = 5

export function createFrameGroups<Item>(parts: {
  gate: Pick<Gate, 'group'>
  clock: Clock
  /** Where an item came from. */
  peerOf: (item: Item) => Peer
  /** Inside the transaction; throws only what the store threw. */
  handle: (item: Item) => void
  /** Sockets that the commit may send to: corked over it, so that deliveries and acks leave in one write each. */
  sockets: () => Socket[]
  /** After the commit. */
  committed: (group: readonly Item[]) => void
  /** Nothing of the group has an effect. */
  failed: (group: readonly Item[], thrown: unknown) => void
}): FrameGroups<Item> {
  const { gate, clock, peerOf, handle, sockets, committed, failed } = parts
  /** The next one to be served first. */
  const queues = new Map<Peer, Item[]>()
  let scheduled = false

  function take(): Item | undefined {
    const [next] = queues
    if (next === undefined) return undefined
    const [peer, items] = next
    const item = items.shift()
    queues.delete(peer)
    if (items.length > 0) queues.set(peer, items)
    else if (peer.isPaused) peer.resume()
    return item
  }

  function flush(): void {
    const startedAt = clock.monotonicMs()
    const group: Item[] = []
    let corked: Socket[] = []
    try {
      gate.group(() => {
        for (let item = take(); item !== undefined; item = group.length < GROUP_FRAMES_MAX ? take() : undefined) {
          group.push(item)
          handle(item)
          if (clock.monotonicMs() - startedAt > GROUP_MS_MAX) break
        }
        corked = sockets()
        for (const socket of corked) socket.cork()
      })
      committed(group)
    } catch (thrown) {
      // At least one goes: a group that cannot even begin must not turn for ever.
      const first = group.length === 0 ? take() : undefined
      failed(first === undefined ? group : [first], thrown)
    } finally {
      process.nextTick(() => {
        for (const socket of corked) socket.uncork()
      })
      scheduled = queues.size > 0
      if (scheduled) setImmediate(flush)
    }
  }

  return {
    add(item) {
      const peer = peerOf(item)
      const items = queues.get(peer)
      if (items === undefined) queues.set(peer, [item])
      else if (items.push(item) >= GROUP_FRAMES_MAX && !peer.isPaused) peer.pause()
      if (scheduled) return
      scheduled = true
      setImmediate(flush)
    },
  }
}
