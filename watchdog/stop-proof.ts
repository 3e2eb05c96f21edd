/**
 * What proves a press, and what proves an answer (faults C30, F13); written a second time in the hub (hub/edge/stop-proof.ts).
 * P1 a page's press carries the one-time field that a page of this process was given: whoever merely posts to the address stops nothing.
 * P2 `hub-stop` sends no words: it shows by a MAC that it has them, over the one-time field of an answer.
 * P3 each answer to it carries a MAC over its own fresh challenge, by a key that only who keeps the card's digest can make.
 */
import { createHmac } from 'node:crypto'
import { sameHex, sha256Hex } from './digest.ts'

const LABEL = 'hub-contact-proof-v1'
/** Of those that were used: each stands for one press with the right words, so that nobody fills it. */
const USED_MAX = 256
const HEX_64 = /^[0-9a-f]{64}$/

/** The key of a card: 64 hex characters, used as they stand, which is one block of HMAC-SHA256. */
export const proofKeyOf = (digest: string): string => sha256Hex(`${LABEL}\n${digest}`)

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

/** `randomBytes` of node:crypto, handed in. */
export type RandomBytes = (count: number) => Buffer

export interface Onces {
  /** A new one-time field. Kept nowhere: it proves itself, as long as this process lives. */
  give(): string
  /** True once for each that was given. */
  take(once: string | undefined): boolean
}

export function createOnces(random: RandomBytes): Onces {
  const key = random(32)
  const used: string[] = []
  const sealOf = (id: string) => createHmac('sha256', key).update(id).digest('hex').slice(0, 32)
  return {
    give() {
      const id = random(16).toString('hex')
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
