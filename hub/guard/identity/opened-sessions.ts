/**
 * The hub's end of one fast session: its keys and exact sequence numbers, only in memory (docs/protocol.md 3, T10).
 *
 * F1. A frame is opened by MAC first, then by the exact next sequence; nothing is parsed before both hold.
 * F2. A fault ends this session for good; the client opens a new one with a new token.
 */
import type { KeyObject } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { scrub } from '../../base/random.ts'
import {
  directionKey,
  FRAMES_PER_SESSION_MAX,
  type FrameType,
  LINE_LIFE_MS,
  openFrame,
  sealFrame,
} from '../../protocol/frame.ts'

export interface OpenedSession {
  /** The 32 random bytes of `welcome`, base64url; handed out once. */
  readonly secret: string
  /** Opens the next frame of the agent. Throws `sequence_broken` with what was wrong. */
  open(frame: Buffer): { type: number; body: Buffer; sequence: number }
  /** Seals the next frame of the hub. */
  seal(type: FrameType, text: string): Buffer
  /** Whether it has to be opened again: too old, or too many frames. */
  isSpent(): boolean
}

export function createOpenedSession(parts: {
  random: Random
  clock: Clock
  framesMax?: number
  lifeMs?: number
}): OpenedSession {
  const { random, clock, framesMax = FRAMES_PER_SESSION_MAX, lifeMs = LINE_LIFE_MS } = parts
  const bytes = random.bytes(32)
  const secret = bytes.toString('base64url')
  const incoming: KeyObject = directionKey(bytes, 'agent-to-hub')
  const outgoing: KeyObject = directionKey(bytes, 'hub-to-agent')
  scrub(bytes)
  const endsAtMs = clock.bootMs() + lifeMs
  let received = 0
  let sent = 0
  return {
    secret,
    open(frame) {
      const opened = openFrame(incoming, 'agent-to-hub', received + 1, frame)
      if ('fault' in opened)
        throw new HubError('sequence_broken', '', { reason: `frame ${received + 1}: ${opened.fault}` })
      received += 1
      return { ...opened, sequence: received }
    },
    seal(type, text) {
      sent += 1
      return sealFrame(outgoing, 'hub-to-agent', type, sent, text)
    },
    isSpent: () => received >= framesMax || sent >= framesMax || clock.bootMs() >= endsAtMs,
  }
}
