/**
 * What proves a press, and what proves an answer (faults C30, F13); written a second time in the hub (hub/edge/people/stop-proof.ts).
 * P1 a press on a page carries the one-time field of that page: a program that merely posts to the address stops nothing.
 * P2 `hub-stop` sends no words: it shows by a MAC that it has them, over the one-time field of an answer.
 * P3 each answer to it carries a MAC over its own fresh challenge, by a key that only a holder of the card's digest can make.
 * P4 a proven stop is valid for two minutes: somebody between `hub-stop` and this process cannot keep it for another day. A page's press
 *    is valid as long as the process: it carries the words, which get anybody a new field, so an age limit would only lose a stop.
 */
import { createHmac } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { sameHex, sha256Hex } from '../base/digest.ts'

const LABEL = 'hub-contact-proof-v1'
/** Used fields that are remembered. Each was a press with the right words, so nobody else can fill the list. */
const USED_MAX = 256
/** How old the field of a proven stop may be. `hub-stop` asks and stops in one go, and starts over if it was too slow. */
export const PROVEN_MS = 120_000
const HEX_64 = /^[0-9a-f]{64}$/
/** The first digits of a field: for a field with an age, when it was given. */
const TIME_DIGITS = 12

/** The key of a card: 64 hex characters, used as they are, which is one block of HMAC-SHA256. */
export const proofKeyOf = (digest: string): string => sha256Hex(`${LABEL}\n${digest}`)

/** HMAC-SHA256 in hex over the parts, each in a line of its own. */
const proofOf = (key: string, ...parts: readonly string[]): string =>
  createHmac('sha256', key).update(parts.join('\n')).digest('hex')

/** What `hub-stop` says instead of words. */
export interface ClientWord {
  readonly act: 'look' | 'stop'
  /** 64 hex characters that it made for this one question. */
  readonly challenge: string
  readonly proof: string
}

/** The client's word in a form; undefined for a page's form, null if it is malformed. */
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
  /** A new one-time field. It is stored nowhere: it proves itself, as long as this process lives. */
  give(): string
  /** True once for each that was given and is not too old. */
  take(once: string | undefined): boolean
}

/** The age up to which a field is valid, by the clock that counts suspend too. */
export interface Age {
  readonly clock: Clock
  readonly maxMs: number
}

export function createOnces(random: RandomBytes, age?: Age): Onces {
  const key = random(32)
  const used: string[] = []
  const sealOf = (id: string) => createHmac('sha256', key).update(id).digest('hex').slice(0, 32)
  /** Without an age the digits are random: a page tells nobody how long this machine has been up. */
  const born = () =>
    age === undefined
      ? random(TIME_DIGITS / 2).toString('hex')
      : Math.floor(age.clock.read().bootMs).toString(16).padStart(TIME_DIGITS, '0')
  const isOld = (once: string) =>
    age !== undefined && age.clock.read().bootMs - Number.parseInt(once.slice(0, TIME_DIGITS), 16) > age.maxMs
  return {
    give() {
      const id = `${born()}${random(10).toString('hex')}`
      return `${id}${sealOf(id)}`
    },
    take(once) {
      if (once === undefined || !HEX_64.test(once) || used.includes(once)) return false
      if (!sameHex(once.slice(32), sealOf(once.slice(0, 32))) || isOld(once)) return false
      used.push(once)
      if (used.length > USED_MAX) used.shift()
      return true
    },
  }
}
