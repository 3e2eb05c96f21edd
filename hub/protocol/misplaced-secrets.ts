/** Secrets in the wrong place: each in `hub.yaml` is a fault that names its key and where it belongs (S0-24). Pure. */
import { secretIn, secretInAddress } from '../base/secret-shapes.ts'
import { type Fault, keyOf, type Places } from './judging.ts'
import { isBag } from './keys.ts'

/** A key of this name would hold a secret itself; the hub's own keys end in `From`. */
const SECRET_KEY = /^(?:.*[-_])?(?:pass(?:word|wd|phrase)?|secret|token|api[-_]?key|credential|authorization)$/i
const OWN_WORDS = ['password', 'token', 'secret']

function kindOf(path: readonly PropertyKey[], value: unknown): string | undefined {
  const key = String(path.findLast((step) => typeof step === 'string') ?? '')
  // There the key names a secret (egress/upstreams.ts).
  const isName = path[0] === 'upstreams' && path.length === 3 && key === 'secret'
  if (!isName && SECRET_KEY.test(key) && (typeof value === 'string' || typeof value === 'number') && value !== '')
    return 'a secret'
  if (typeof value !== 'string') return undefined
  return value.includes('://') ? secretInAddress(value) : secretIn(value)
}

function wayOut(path: readonly PropertyKey[], value: unknown): string {
  const key = String(path.findLast((step) => typeof step === 'string') ?? '')
  if (path[0] === 'upstreams') return 'and write `secret: NAME`'
  if (key === 'url' || (typeof value === 'string' && value.includes('://')))
    return 'and write `urlFrom: NAME` and `hosts`'
  const word = OWN_WORDS.find((each) => each === key.toLowerCase())
  return word === undefined ? 'and name it by a key that ends in `From`' : `and write \`${word}From: NAME\``
}

/** One fault for each secret below `given`; their values are not repeated. */
export function secretFaults(given: unknown, placeOf: Places, path: readonly PropertyKey[] = []): Fault[] {
  if (Array.isArray(given)) return given.flatMap((each, at) => secretFaults(each, placeOf, [...path, at]))
  if (isBag(given)) return Object.entries(given).flatMap(([key, each]) => secretFaults(each, placeOf, [...path, key]))
  const kind = kindOf(path, given)
  if (kind === undefined) return []
  const message = `holds ${kind}, which does not belong in this file: put it into HOME/secrets/NAME (mode 0600) or into HUB_SECRET_NAME, ${wayOut(path, given)}`
  return [{ ...placeOf(path, 'value'), key: keyOf(path), message }]
}
