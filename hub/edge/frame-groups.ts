/**
 * Group commit: the frames of one turn, of all sessions, go through the gate together (threats.md section 8).
 *
 * At most 256 or 5 ms, one commit, a savepoint each. What is left waits for the next turn, so that health and heartbeat are never starved.
 */
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import type { Gate } from '../guard/gate.ts'

export interface FrameGroups<Item> {
  add(item: Item): void
}

const GROUP_FRAMES_MAX = 256
const GROUP_MS_MAX = 5

export function createFrameGroups<Item>(parts: {
  gate: Pick<Gate, 'group'>
  clock: Clock
  /** Inside the transaction; throws only what the store threw. */
  handle: (item: Item) => void
  /** Sockets that the commit may send to: corked over it, so that deliveries and acks leave in one write each. */
  sockets: () => Socket[]
  /** After the commit. */
  committed: (group: readonly Item[]) => void
  /** Nothing of the group has an effect. */
  failed: (group: readonly Item[], thrown: unknown) => void
}): FrameGroups<Item> {
  const { gate, clock, handle, sockets, committed, failed } = parts
  let queue: Item[] = []
  let scheduled = false

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
      queue = queue.slice(Math.max(1, group.length))
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
      if (scheduled) return
      scheduled = true
      setImmediate(flush)
    },
  }
}
