/**
 * Envelopes on the fast line, in their order: at most 1 024 unconfirmed, each settled by the hub's ack.
 *
 * 1. What was sent on one line and not confirmed goes out first on the next, in the same order, under the same ids.
 * 2. A refusal settles its own envelope only.
 */
import { HubError } from '../../base/errors.ts'
import { ENVELOPE_BYTES_MAX } from '../../protocol/frame.ts'
import type { Ack, FastLine } from './fast-line.ts'
import { UNCONFIRMED_MAX } from './pending.ts'

export interface FastQueue {
  /** Resolves when it is committed. Rejects with the hub's refusal, or with LinkLost: to be said again. */
  send(envelope: Buffer): Promise<void>
  take(ack: Ack): void
  /** The line to send on from now; none while one is opened anew. */
  attach(line: FastLine | undefined): void
  failAll(thrown: unknown): void
  /** Resolves when nothing waits. */
  settled(): Promise<void>
}

interface Waiting {
  envelope: Buffer
  sequence: number
  resolve: () => void
  reject: (thrown: unknown) => void
}

/** As long as a signed request would wait for its answer. */
const ACK_MS_MAX = 60_000

export function createFastQueue(errorOf: (problem: Record<string, unknown>) => unknown): FastQueue {
  let line: FastLine | undefined
  let unconfirmed: Waiting[] = []
  let backlog: Waiting[] = []
  const idle: (() => void)[] = []
  let late: NodeJS.Timeout | undefined

  function pump(): void {
    const room = UNCONFIRMED_MAX - unconfirmed.length
    if (line === undefined || room <= 0 || backlog.length === 0) return
    for (const waiting of backlog.splice(0, room)) {
      waiting.sequence = line.say(waiting.envelope)
      unconfirmed.push(waiting)
    }
    late ??= setTimeout(() => line?.close(), ACK_MS_MAX).unref()
  }
  function rest(): void {
    clearTimeout(late)
    late = undefined
    if (unconfirmed.length + backlog.length > 0) return
    for (const done of idle.splice(0)) done()
  }

  return {
    async send(envelope) {
      // The hub would end the line for its length, before it knows whose message it is.
      if (envelope.length > ENVELOPE_BYTES_MAX)
        throw new HubError(
          'too_large',
          `a message holds at most ${ENVELOPE_BYTES_MAX} bytes, this one has ${envelope.length}`,
        )
      await new Promise<void>((resolve, reject) => {
        backlog.push({ envelope, sequence: 0, resolve, reject })
        pump()
      })
    },
    take({ upTo, refused }) {
      const open = unconfirmed.findIndex(({ sequence }) => sequence > upTo)
      const settled = unconfirmed.splice(0, open === -1 ? unconfirmed.length : open)
      if (settled.length > 0) rest()
      for (const { sequence, resolve, reject } of settled) {
        const problem = refused.get(sequence)
        if (problem === undefined) resolve()
        else reject(errorOf(problem))
      }
      pump()
    },
    attach(next) {
      line = next
      backlog = unconfirmed.concat(backlog)
      unconfirmed = []
      rest()
      pump()
    },
    failAll(thrown) {
      const lost = unconfirmed.concat(backlog)
      line = undefined
      unconfirmed = []
      backlog = []
      rest()
      for (const { reject } of lost) reject(thrown)
    },
    settled: () =>
      unconfirmed.length + backlog.length === 0 ? Promise.resolve() : new Promise((resolve) => void idle.push(resolve)),
  }
}
