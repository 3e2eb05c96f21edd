/**
 * Group commit: the frames of one turn, of all sessions, go through the gate together (threats.md section 8).
 *
 * At most 256 or 5 ms, one commit, a savepoint each. What is left waits for the next turn, so that health and heartbeat are never starved.
 * A peer of whom a whole group waits is not read from until its frames have gone: who floods fills his own socket, not the queue (T65).
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
  const waiting = new WeakMap<Peer, number>()
  const queue: Item[] = []
  let scheduled = false

  function count(item: Item, more: 1 | -1): void {
    const peer = peerOf(item)
    const now = (waiting.get(peer) ?? 0) + more
    waiting.set(peer, now)
    if (more === 1 && now >= GROUP_FRAMES_MAX && !peer.isPaused) peer.pause()
    if (more === -1 && now === 0 && peer.isPaused) peer.resume()
  }

  function flush(): void {
    const startedAt = clock.monotonicMs()
    const group: Item[] = []
    let corked: Socket[] = []
    try {
      gate.group(() => {
        for (let item = queue[0]; item !== undefined && group.length < GROUP_FRAMES_MAX; item = queue[group.length]) {
          group.push(item)
          handle(item)
          if (clock.monotonicMs() - startedAt > GROUP_MS_MAX) break
        }
        corked = sockets()
        for (const socket of corked) socket.cork()
      })
      committed(group)
    } catch (thrown) {
      failed(group, thrown)
    } finally {
      // At least one goes: a group that cannot even begin must not turn for ever.
      for (const item of queue.splice(0, Math.max(1, group.length))) count(item, -1)
      process.nextTick(() => {
        for (const socket of corked) socket.uncork()
      })
      scheduled = queue.length > 0
      if (scheduled) setImmediate(flush)
    }
  }

  return {
    add(item) {
      queue.push(item)
      count(item, 1)
      if (scheduled) return
      scheduled = true
      setImmediate(flush)
    },
  }
}
