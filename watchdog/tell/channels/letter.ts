/** What every channel gets to send, and what a channel is. */
import type { AlertKind } from '../../config/channels.ts'

export interface LetterAlert {
  readonly name: string
  readonly status: 'firing' | 'resolved'
  readonly severity: 'info' | 'warning' | 'critical'
  readonly text: string
  /** Wall instants. */
  readonly startsAtMs: number
  readonly endsAtMs: number | null
  /** The same for all deliveries of one occurrence. */
  readonly fingerprint: string
}

export interface Letter {
  /** Delivery is at least once; a receiver recognises a repeat by this id. */
  readonly id: string
  readonly instance: string
  readonly severity: 'info' | 'warning' | 'critical'
  readonly subject: string
  readonly text: string
  /** The same for programs. */
  readonly alerts: readonly LetterAlert[]
}

export interface Post {
  /** Names the channel to a person, without a secret: "email through mail.example.org". */
  readonly label: string
  readonly kind: AlertKind
  /** Rings or wakes somebody: waits for the end of quiet hours if docs/safety.md 7 says so. */
  readonly loud: boolean
  /** The longest one try may take, milliseconds. */
  readonly deadlineMs: number
  /** Resolves once the other side took it; rejects with what a person can act on. Never called for two messages at once. */
  deliver(letter: Letter): Promise<void>
}

/** Control characters, line ends of Unicode too, out of everything that becomes a header. */
export const headerText = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim()
