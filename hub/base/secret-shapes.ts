/** Texts of a configuration that are secrets by their shape: what redaction.ts would mask, and addresses that let in whoever knows them (S0-24). */
import { createRedaction, hideUnknown, type Redaction } from './redaction.ts'

/** Each with what it is called. Sources: the services' own documents, and RFC 3986. */
const ADDRESSES: readonly (readonly [string, RegExp])[] = [
  ['a token of ntfy', /\btk_[a-z0-9]{20,}/],
  ['a token of Telegram', /\bbot\d{6,}:[\w-]{30,}/],
  [
    'a secret in an address',
    /[?&#](?:access[_-]?token|api[_-]?key|auth|key|pass(?:word|wd)?|pwd|secret|sig(?:nature)?|token)=[^&\s]+/i,
  ],
  ['a secret address of Slack', /\bhooks\.slack\.com\/services\/\S+/],
  ['a secret address of Discord', /\bdiscord(?:app)?\.com\/api\/webhooks\/\S+/],
]

/** Part of an address that no person would choose: a UUID, hexadecimal, or capitals, small letters and digits in one run. */
const RANDOM_PART =
  /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{24,}|(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{16,}/

const plain = hideUnknown()

/** What kind of secret the text holds, in words, or undefined. Pure. */
export const secretIn = (text: string): string | undefined =>
  plain.text(text) === text ? ADDRESSES.find(([, shape]) => shape.test(text))?.[0] : 'a secret'

/** The same for the address of a service, which may be a secret as a whole: who knows it may write there. Pure. */
export function secretInAddress(text: string): string | undefined {
  const known = secretIn(text)
  if (known !== undefined || !URL.canParse(text)) return known
  const { pathname, search } = new URL(text)
  return RANDOM_PART.test(pathname) || RANDOM_PART.test(search) ? 'an address that is a secret' : undefined
}

/** The text with all of this masked, and with what `redaction` knows. Pure. */
export const hideSecrets = (text: string, redaction: Redaction = createRedaction()): string =>
  ADDRESSES.reduce(
    (left, [, shape]) => left.replaceAll(new RegExp(shape, `${shape.flags}g`), '[redacted]'),
    redaction.text(text),
  )
