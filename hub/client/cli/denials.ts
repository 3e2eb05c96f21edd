/** What an agent was refused, as its maker reads it: what, why, and the line that mends it. Pure. */
import { ERRORS } from '../../base/errors.ts'
import type { HubEvent } from '../../protocol/events.ts'
import { mendingOf } from '../problem.ts'
import { clean } from './text.ts'

export interface Refusal {
  code: string
  detail: string
  /** `message.send` and its addressee, where it is known. */
  what: string
}

/** Repeats that the SDK settles by itself are no news. */
const SILENT = new Set(['nonce_used', 'already_resolved'])

export function refusalOf(event: HubEvent): Refusal | undefined {
  if (event.type !== 'hub.message.refused.v1') return undefined
  const { code, detail, operation, resource } = event.data
  if (typeof code !== 'string' || SILENT.has(code)) return undefined
  const what = [operation, resource].filter((each) => typeof each === 'string').join(' ')
  return { code, detail: typeof detail === 'string' ? detail : '', what }
}

/** Two lines. `dev` is the name it ran under; the line to change is that of `name`. */
export function refusalText({ code, detail, what }: Refusal, names: { name: string; dev: string }): string[] {
  const own = (text: string) => text.replaceAll(names.dev, names.name)
  const mending = mendingOf(own(detail))
  const row = Object.hasOwn(ERRORS, code) ? ERRORS[code as keyof typeof ERRORS] : undefined
  const byAllow = mending?.includes('policy/data.json')
    ? ` (\`hub agent allow ${names.name}\` writes what the card wishes)`
    : ''
  return [
    `denied: ${own(what)}${what === '' ? '' : ': '}${code}: ${own(detail)}`,
    `  mend: ${mending === undefined ? (row?.next ?? 'see `hub audit list --outcome refused`') : `${mending}${byAllow}`}`,
  ].map(clean)
}
