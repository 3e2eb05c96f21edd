/** One request from any entrance of people: parse, admit, handle, answer or explain the refusal. */

import { sha256Hex } from '../base/canonical.ts'
import { HubError, toHubError } from '../base/errors.ts'
import type { Redaction } from '../base/redaction.ts'
import type { Call, Gate } from '../guard/gate.ts'
import type { Grant, StopGrant } from '../guard/grant.ts'
import type { Kept } from '../guard/operator/stop-wishes.ts'
import type { Principal } from '../guard/principal.ts'
import { type Operation, type OperationName, operationOf, type Standing } from '../protocol/operations.ts'
import { parseShape } from '../protocol/parse.ts'
import { readTraceparent, type Tracer } from '../protocol/traces.ts'

/** What an operation does once admitted. `effect` runs in the gate's transaction. `after` may await, and shapes the answer. */
export interface Handler {
  resource?: (request: never) => string
  facts?: (request: never, principal: Principal) => Record<string, unknown>
  /** Whether this request only restricts (guard/checks.ts). */
  restricts?: (request: never) => boolean
  effect: (grant: never, request: never, context: RequestContext) => unknown
  after?: (result: never, request: never, grant: never) => unknown
  /** For a stop: what is still to do once the store can be written, if that is not `effect` again (stop-wishes.ts). */
  later?: (grant: never, request: never, context: RequestContext) => unknown
}

export interface RequestContext {
  principal: Principal
  idempotencyKey: string | undefined
  /** W3C's, as the caller sent it: what the request causes then names that trace. */
  traceparent?: string | undefined
}

/** Handlers by operation; made by the files in `routes/`. */
export type Handlers = Partial<Record<OperationName, Handler>>

/** Types a handler by its request. It checks nothing: the shape was parsed before. */
export const handler = <Request, Result>(parts: {
  resource?: (request: Request) => string
  facts?: (request: Request, principal: Principal) => Record<string, unknown>
  restricts?: (request: Request) => boolean
  effect: (grant: Grant, request: Request, context: RequestContext) => Result
  after?: (result: Result, request: Request, grant: Grant) => unknown
}): Handler => parts

/** The same for a stopping operation, whose effect gets a stop grant. */
export const stopHandler = <Request, Result>(parts: {
  resource?: (request: Request) => string
  effect: (grant: StopGrant, request: Request, context: RequestContext) => Result
  after?: (result: Result, request: Request, grant: StopGrant) => unknown
  later?: (grant: StopGrant, request: Request, context: RequestContext) => unknown
}): Handler => parts

/** Added to the answer of a stop that was accepted but is not recorded yet. */
const UNWRITTEN: Record<Kept, string> = {
  file: 'stopping, not written yet: the database cannot be written; the stop is kept in HOME/stop-wishes and written first, also after a restart',
  memory:
    'stopping, not written yet: neither the database nor the home can be written; after a restart ask for this stop again',
  all_held: 'stopping, not written yet: no more stops can be kept, so everything is held until `hub resume`',
}

export type Serve = (operation: OperationName, raw: unknown, context: RequestContext) => Promise<unknown>

/**
 * Their answers hold a secret, or words to join with, for the one who asks; or the very name that was asked for; or records whose hashes
 * cover every letter, and which were masked when they were written.
 */
const SHOWN_WHOLE: ReadonlySet<OperationName> = new Set([
  'token.create',
  'device.add',
  'console.open',
  'console.join',
  'contact.card',
  'token.revoke',
  'device.revoke',
  'audit.export',
])
/** Never refused for what is in their words. */
const NEVER_REFUSED: ReadonlySet<Standing> = new Set(['stop', 'presence'])
/** The words in them. What a stop is about stays as it is: a masked name would be stopped by nobody. */
const WORDS: ReadonlySet<string> = new Set(['reason', 'note'])
/**
 * Taken as it is, since it contains an agent, and that agent writes much of what a monitor quotes: it must not be able to stop the post by
 * a secret that it was given. Alerts, records and ends of sessions mask what they keep.
 */
const OF_MONITOR: OperationName = 'monitor.alert'

export function createServe(parts: {
  gate: Gate
  handlers: Handlers
  redaction: Redaction
  /** Makes known what was put into the folder of secrets since. */
  learnSecrets: () => void
  /** Keeps spans; absent where nobody does. */
  tracer?: Tracer | undefined
}): Serve {
  const { gate, handlers, redaction, learnSecrets, tracer } = parts

  /** What people write is stored and shown, so the value of a secret in it is refused; a stop goes on without it. */
  function withoutSecret(operation: OperationName, row: Operation, given: unknown, key: string | undefined): unknown {
    if (row.standing === 'read' || operation === OF_MONITOR) return given
    learnSecrets()
    const name = redaction.secretIn([given, key])
    if (name === undefined) return given
    if (NEVER_REFUSED.has(row.standing)) {
      const entries = Object.entries(given ?? {})
      return Object.fromEntries(
        entries.map(([field, each]) => [field, WORDS.has(field) ? redaction.value(each) : each]),
      )
    }
    throw new HubError(
      'schema_invalid',
      `the request holds the value of the secret ${name}, and would be stored and shown; name the secret instead, such as in the card of an agent (may.secrets)`,
    )
  }

  gate.onCarryOut((grant, { operation, principal, request }) => {
    const found = handlers[operation]
    const act = found?.later ?? found?.effect
    return act?.(grant as never, request as never, { principal, idempotencyKey: undefined })
  })
  return async (operation, given, context) => {
    const row = operationOf(operation)
    const found = handlers[operation]
    const base = { principal: context.principal, operation, payloadHash: sha256Hex(JSON.stringify(given ?? null)) }
    let request: never
    let call: Call
    try {
      if (row === undefined || found === undefined)
        throw new HubError('unknown_operation', `${operation} is not served here`)
      request = parseShape(row.request, withoutSecret(operation, row, given, context.idempotencyKey)) as never
      const facts = found.facts?.(request, context.principal)
      call = {
        ...base,
        resource: found.resource?.(request) ?? operation.split('.')[0] ?? '',
        ...(facts === undefined ? {} : { facts }),
        ...(row.standing === 'stop' ? { wish: request } : {}),
        ...(found.restricts === undefined ? {} : { restricts: found.restricts(request) }),
      }
    } catch (thrown) {
      const error = toHubError(thrown)
      gate.refuse({ ...base, resource: '' }, error)
      throw error
    }
    let granted: Grant | StopGrant | undefined
    const run = (grant: Grant | StopGrant) => {
      granted = grant
      return found.effect(grant as never, request, context)
    }
    const admit = () => (row.standing === 'stop' ? gate.admitStop(call, run) : gate.admit(call, run))
    const caller = tracer && readTraceparent(context.traceparent)
    const result = tracer === undefined || caller === undefined ? admit() : tracer.within(caller, admit)
    const whole = found.after === undefined ? result : await found.after(result as never, request, granted as never)
    const answer = SHOWN_WHOLE.has(operation) ? whole : redaction.value(whole)
    const kept = granted?.kind === 'stop' ? granted.unwritten : undefined
    if (kept === undefined) return answer
    return { ...(answer as object), unwritten: { kept, detail: UNWRITTEN[kept] } }
  }
}
