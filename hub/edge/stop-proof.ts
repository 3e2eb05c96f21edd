/**
 * What proves a press, and what proves an answer (faults C30, F13); written a second time in the watchdog (watchdog/stop-proof.ts).
 * P1 a page's press carries the one-time field that a page of this process was given: whoever merely posts to the address stops nothing.
 * P2 `hub-stop` sends no words: it shows by a MAC that it has them, over the one-time field of an answer.
 * P3 each answer to it carries a MAC over its own fresh challenge, by a key that only who keeps the card's digest can make.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Random } from '../base/random.ts'

/** Of those that were used: each stands for one press with the right words, so that nobody fills it. */
const USED_MAX = 256
const HEX_64 = /^[0-9a-f]{64}$/

const sameHex = (a: string, b: string): boolean => {
  const [left, right] = [Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8')]
  return left.length === right.length && timingSafeEqual(left, right)
}

/** HMAC-SHA256 in hex over the parts, each in a line of its own. */
export const proofOf = (key: string, ...parts: readonly string[]): string =>
  createHmac('sha256', key).update(parts.join('\n')).digest('hex')

/** What `hub-stop` says instead of words. */
export interface ClientWord {
  readonly act: 'look' | 'stop'
  /** 64 hex characters that it made for this one question. */
  readonly challenge: string
  readonly proof: string
}

/** The client's word in a form; undefined where it is a page's, null where it is malformed. */
export function clientWordIn(form: URLSearchParams): ClientWord | null | undefined {
  const act = form.get('act')
  if (act === null) return undefined
  const challenge = form.get('challenge') ?? ''
  const proof = form.get('proof') ?? ''
  if ((act !== 'look' && act !== 'stop') || !HEX_64.test(challenge) || !HEX_64.test(proof)) return null
  return { act, challenge, proof }
}

/** Whether its sender has the words of the card of this key. `once`: the one-time field it names, for a stop. */
export const isProven = (key: string, { act, challenge, proof }: ClientWord, once: string): boolean =>
  sameHex(proof, act === 'look' ? proofOf(key, 'look', challenge) : proofOf(key, 'stop', challenge, once))

/** The headers that prove an answer: `word` is what it says, `once` what a stop after it must name. */
export const answerProof = (
  key: string,
  challenge: string,
  { word, once, instance }: { word: string; once: string; instance: string },
): Record<string, string> => ({
  'hub-stop-once': once,
  'hub-stop-instance': instance,
  'hub-stop-proof': proofOf(key, 'answer', challenge, once, instance, word),
})

export interface Onces {
  /** A new one-time field. Kept nowhere: it proves itself, as long as this process lives. */
  give(): string
  /** True once for each that was given. */
  take(once: string | undefined): boolean
}

export function createOnces(random: Random): Onces {
  const key = random.bytes(32)
  const used: string[] = []
  const sealOf = (id: string) => createHmac('sha256', key).update(id).digest('hex').slice(0, 32)
  return {
    give() {
      const id = random.bytes(16).toString('hex')
      return `${id}${sealOf(id)}`
    },
    take(once) {
      if (once === undefined || !HEX_64.test(once) || used.includes(once)) return false
      if (!sameHex(once.slice(32), sealOf(once.slice(0, 32)))) return false
      used.push(once)
      if (used.length > USED_MAX) used.shift()
      return true
    },
  }
}
