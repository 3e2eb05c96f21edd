/**
 * What proves a press, and what proves an answer (faults C30, F13). Written a second time in the watchdog (watchdog/door/stop-proof.ts).
 *
 * P1 A page's press carries the one-time field that a page of this process was given. Whoever merely posts to the address stops nothing.
 * P2 `hub-stop` sends no words. A MAC over the one-time field of an answer shows that it has them.
 * P3 Each answer to it carries a MAC over its own fresh challenge. Only a holder of the card's digest can make that key.
 * P4 A proven stop is valid for two minutes, so nobody between `hub-stop` and this process can keep it for another day. A page's press is
 * valid as long as the process: it carries the words, by which anybody gets a new field, so an age would only lose a stop.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'

/** How many used fields are remembered. Each needed one press with the right words, so nobody can fill this. */
const USED_MAX = 256
/** The greatest age of a field for a proven stop. `hub-stop` asks and stops in one go, and starts again if it was too slow. */
export const PROVEN_MS = 120_000
const HEX_64 = /^[0-9a-f]{64}$/
/** The first digits of a field: when it was given, if it has an age. */
const TIME_DIGITS = 12

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

/** The client's word in a form. Undefined if it is a page's, null if it is malformed. */
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

/** The headers that prove an answer. `word`: what it says. `once`: what a stop after it must name. */
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
  /** A new one-time field. It is stored nowhere: it proves itself as long as this process lives. */
  give(): string
  /** True once for each field that was given and is not too old. */
  take(once: string | undefined): boolean
}

/** The greatest age of a field, by the clock that also counts a suspend. */
export interface Age {
  readonly clock: Clock
  readonly maxMs: number
}

export function createOnces(random: Random, age?: Age): Onces {
  const key = random.bytes(32)
  const used: string[] = []
  const sealOf = (id: string) => createHmac('sha256', key).update(id).digest('hex').slice(0, 32)
  /** Without an age the digits are random, so a page tells nobody how long this machine has been up. */
  const born = () =>
    age === undefined
      ? random.bytes(TIME_DIGITS / 2).toString('hex')
      : Math.floor(age.clock.bootMs()).toString(16).padStart(TIME_DIGITS, '0')
  const isOld = (once: string) =>
    age !== undefined && age.clock.bootMs() - Number.parseInt(once.slice(0, TIME_DIGITS), 16) > age.maxMs
  return {
    give() {
      const id = `${born()}${random.bytes(10).toString('hex')}`
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
