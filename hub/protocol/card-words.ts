/**
 * The twelve words of the backup contact's card: their one spelling and what is kept of them. The watchdog does the same by itself
 * (watchdog/door/contact-card.ts), without a word list: neither side needs one to accept a card.
 */
import { sha256Hex } from '../base/canonical.ts'

const LABEL = 'hub-contact-card-v1'
/** Twelve words of 3 to 8 letters, with room for numbers and line breaks between them. */
const TYPED_LENGTH_MAX = 300
const SPELLING = /^[a-z]{3,8}(?:-[a-z]{3,8}){11}$/

/** The spelling that is digested: lower case, joined by `-`. Undefined unless it is exactly that, as a link carries it. */
export const exactWords = (text: string): string | undefined => (SPELLING.test(text) ? text : undefined)

/** The same from what a person typed: capitals, numbers, dots, any spaces. Undefined unless twelve words are left. */
export function typedWords(text: string): string | undefined {
  if (text.length > TYPED_LENGTH_MAX) return undefined
  return exactWords(
    text
      .toLowerCase()
      .split(/[^a-z]+/)
      .filter((word) => word !== '')
      .join('-'),
  )
}

/** SHA-256 under a label of its own, in hex: all that is kept. The words hold 128 random bits, so nothing slower is needed. */
export const digestOfWords = (words: string): string => sha256Hex(`${LABEL}\n${words}`)

/** The key by which `hub-stop` and the process that answers it prove themselves to each other (edge/people/stop-proof.ts): 64 hex characters, used as they are. */
export const proofKeyOf = (digest: string): string => sha256Hex(`hub-contact-proof-v1\n${digest}`)

/** How a card is named in records and to people: the beginning of its digest. */
export const cardIdOf = (digest: string): string => digest.slice(0, 12)
