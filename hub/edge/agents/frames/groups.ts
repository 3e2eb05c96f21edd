/**
 * Group commit: the frames of one turn, from all sessions, go through the gate together (docs/threats.md 7).
 *
 * A group has at most 256 frames or 5 ms, one commit, and a savepoint for each frame. The rest waits for the next turn, so health and
 * heartbeat are never starved. While the store fails, frames go past it one by one and their acks say so (S1-18), even in the turn in which
 * it failed. The lines take turns, each in its own order. If a whole group, or 1 MiB (fault F6), of one line waits, that line is not read
 * until its frames are gone (T65).
 */
import type { Socket } from 'node:net'
import type { Clock } from '../../../base/clock.ts'
import type { Gate } from '../../../guard/gate.ts'
import type { Brake } from '../../brake.ts'

export interface FrameGroups<Item> {
  add(item: Item): void
}

/** The hold on reading one line; the line may have other reasons not to be read. */
type Peer = Pick<Brake, 'isPaused' | 'pause' | 'resume'>

const GROUP_FRAMES_MAX = 256
const GROUP_MS_MAX = 5
/** Bytes of one line's waiting frames. */
const LINE_BYTES_MAX = 1024 ** 2

export function createFrameGroups<Item>(parts: {
  gate: Pick<Gate, 'group' | 'isStoreFailing' | 'unstored'>
  clock: Clock
  /** Where an item came from. */
  peerOf: (item: Item) => Peer
  bytesOf: (item: Item) => number
  /** Inside the transaction it throws only what the store threw. Beside the store (not durable) it throws nothing. */
  handle: (item: Item, durable: boolean) => void
  /** The group was not committed, so what `handle` noted of it must be forgotten. The frame is handled once more, or has failed. */
  undone: (group: readonly Item[]) => void
  /** Sockets that the commit may send to. They are corked during it, so deliveries and acks leave in one write each. */
  sockets: () => Socket[]
  /** After the commit, or once the records wait in the audit buffer. */
  committed: (group: readonly Item[], durable: boolean) => void
  /** Nothing of the group has an effect. */
  failed: (group: readonly Item[], thrown: unknown) => void
}): FrameGroups<Item> {
  const { gate, clock, peerOf, bytesOf, handle, undone, sockets, committed, failed } = parts
  /** The next one to be served first. */
  const queues = new Map<Peer, Item[]>()
  const waitingBytes = new Map<Peer, number>()
  let scheduled = false

  function take(): Item | undefined {
    const [next] = queues
    if (next === undefined) return undefined
    const [peer, items] = next
    const item = items.shift()
    queues.delete(peer)
    if (items.length > 0) {
      queues.set(peer, items)
      if (item !== undefined) waitingBytes.set(peer, (waitingBytes.get(peer) ?? 0) - bytesOf(item))
      return item
    }
    waitingBytes.delete(peer)
    if (peer.isPaused) peer.resume()
    return item
  }

  /** Takes and handles the next ones: at most 256 or 5 ms. */
  function work(group: Item[], durable: boolean): void {
    const startedAt = clock.monotonicMs()
    for (let item = take(); item !== undefined; item = group.length < GROUP_FRAMES_MAX ? take() : undefined) {
      group.push(item)
      handle(item, durable)
      if (clock.monotonicMs() - startedAt > GROUP_MS_MAX) break
    }
  }

  /** In one transaction. False if the store failed. */
  function together(group: Item[], cork: () => void): boolean {
    try {
      gate.group(() => {
        work(group, true)
        cork()
      })
    } catch (thrown) {
      undone(group)
      if (gate.isStoreFailing()) return false
      throw thrown
    }
    committed(group, true)
    return true
  }

  function beside(group: Item[]): void {
    gate.unstored(() => {
      if (group.length === 0) work(group, false)
      else for (const item of group) handle(item, false)
    })
    committed(group, false)
  }

  function flush(): void {
    const group: Item[] = []
    let corked: Socket[] = []
    const cork = () => {
      if (corked.length > 0) return
      corked = sockets()
      for (const socket of corked) socket.cork()
    }
    try {
      if (gate.isStoreFailing() || !together(group, cork)) {
        cork()
        beside(group)
      }
    } catch (thrown) {
      // At least one goes: a group that cannot even begin must not loop for ever.
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
      const bytes = (waitingBytes.get(peer) ?? 0) + bytesOf(item)
      waitingBytes.set(peer, bytes)
      const waiting = items === undefined ? 1 : items.push(item)
      if (items === undefined) queues.set(peer, [item])
      if ((waiting >= GROUP_FRAMES_MAX || bytes >= LINE_BYTES_MAX) && !peer.isPaused) peer.pause()
      if (scheduled) return
      scheduled = true
      setImmediate(flush)
    },
  }
}
