/**
 * The one error of the hub and the one table of its codes (protocol.md section 11). Each code says whose it is
 * (`refused`: do not retry as it is; `unavailable`: retry later; `fault`: our bug), its HTTP status and what to do next.
 * A test compares this table with the README's.
 */

export type ErrorKind = 'refused' | 'unavailable' | 'fault'

interface ErrorRow {
  kind: ErrorKind
  status: number
  next: string
}

const row = (kind: ErrorKind, status: number, next: string): ErrorRow => ({ kind, status, next })

export const ERRORS = {
  unauthenticated: row('refused', 401, 'Join again on your own socket; the reason is in the audit log only.'),
  forbidden: row('refused', 403, 'This principal or entrance may not use the operation; use one that may.'),
  policy_denied: row(
    'refused',
    403,
    'Read the decision with `hub audit list --json` and change policy/data.json if it should be allowed.',
  ),
  policy_unavailable: row('unavailable', 503, 'Run `hub policy status`; mend the bundle or data and reload.'),
  needs_approval: row('refused', 403, 'The rules want a person to agree first; ask the operator.'),
  mode_degraded: row(
    'unavailable',
    503,
    '`hub status` says what is the matter and what ends it; do that, then try again.',
  ),
  mode_safe: row(
    'unavailable',
    503,
    'The hub starts nothing now; `hub status` names the condition and who can end it.',
  ),
  mode_draining: row('unavailable', 503, 'The hub is stopping; start it again with `hub up`.'),
  nonce_used: row('refused', 409, 'Send the request again with a fresh nonce and timestamp.'),
  sequence_broken: row('refused', 409, 'Open a new session; the frame sequence must rise by exactly one.'),
  token_revoked: row('refused', 401, 'The session has ended; nothing more can be sent with this token.'),
  schema_invalid: row('refused', 400, 'Correct the field named in the detail.'),
  too_large: row('refused', 413, 'Send less at once; the limit is named in the detail.'),
  unknown_operation: row('refused', 404, 'Use an operation of the operations table.'),
  unknown_agent: row('refused', 404, 'See `hub agent list`; a new card needs `hub agent reload`.'),
  unknown_session: row('refused', 404, 'See `hub session list`; the session may have ended.'),
  unknown_task: row('refused', 404, 'See `hub task list`.'),
  unknown_artifact: row('refused', 404, 'See `hub artifact list`; an artifact is named by its SHA-256.'),
  artifact_corrupt: row(
    'fault',
    500,
    'Its file in artifacts/ is damaged and is never served; put the same bytes again, or restore a backup.',
  ),
  no_capable_agent: row(
    'refused',
    409,
    'No registered agent that may take the task has all the capabilities asked for; see `hub agent list`.',
  ),
  agent_unhealthy: row('refused', 409, 'Look at its log, mend it, then `hub agent reset NAME`.'),
  inbox_closed: row('refused', 409, 'The recipient has ended; choose another.'),
  mailbox_full: row('unavailable', 429, 'The recipient has not read its mail; try again later.'),
  rate_limited: row('unavailable', 429, 'Wait for retryAfterMs, then try again.'),
  delegation_depth: row('refused', 403, 'This chain of delegations may not go deeper; do the work yourself.'),
  delegation_cycle: row('refused', 403, 'An agent may not stand twice in one chain; choose another.'),
  delegation_wider: row('refused', 403, 'A child may never hold more than its parent; ask for less.'),
  limit_exceeded: row(
    'refused',
    400,
    'Stay within the limit named in the detail, or raise it in hub.yaml up to its ceiling.',
  ),
  unsupported_mode: row('refused', 400, 'This value exists but is not supported; the detail names what is.'),
  image_missing: row('refused', 409, 'Assemble the images: `node scripts/build-images.ts`, then `hub agent reload`.'),
  image_refused: row('refused', 409, 'The image breaks the rule named in the detail; build it again without that.'),
  engine_unavailable: row('unavailable', 503, 'Start the container engine (`scripts/engine up`), then `hub doctor`.'),
  engine_refused: row(
    'refused',
    409,
    'The container engine is there and does not do it; mend what its words in the detail name (`hub doctor`), then `hub task retry ID`.',
  ),
  profile_mismatch: row(
    'fault',
    500,
    'The engine changed a hardened setting; the container was removed. Look at `hub doctor`.',
  ),
  ttl_expired: row(
    'refused',
    408,
    'The session reached its time to live; submit again with a longer --ttl if it is allowed.',
  ),
  budget_exceeded: row('refused', 403, 'The budget is spent; `hub budget show`.'),
  already_resolved: row('refused', 409, 'It is already settled; nothing to do.'),
  conflict: row('refused', 409, 'Something else came first; look at the present state and try again.'),
  store_unavailable: row(
    'unavailable',
    503,
    'The database cannot be written; see `hub doctor`, free space or restart the hub.',
  ),
  audit_unavailable: row('unavailable', 503, 'Nothing is accepted that cannot be audited; see `hub doctor`.'),
  config_invalid: row('refused', 400, 'Correct the key named in the detail.'),
  timed_out: row('unavailable', 504, 'Nothing answered in time; try again or give it longer.'),
  unreadable: row('fault', 500, 'Its row in the database is damaged; submit it again, and look at `hub doctor`.'),
  cancelled: row('refused', 409, 'It was cancelled.'),
  internal: row('fault', 500, 'This is a bug in the hub; the log has the detail under this id.'),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

/** A refusal, an outage or a fault with a stable code. `detail` is safe to show to the caller; `reason` goes to the audit log only. */
export class HubError extends Error {
  readonly code: ErrorCode
  readonly facts: Record<string, unknown>
  readonly reason: string

  constructor(
    code: ErrorCode,
    detail = '',
    options: { reason?: string; facts?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(detail === '' ? ERRORS[code].next : detail, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'HubError'
    this.code = code
    this.facts = options.facts ?? {}
    this.reason = options.reason ?? detail
  }
}

/** Any thrown value as a HubError: what is not one already is our bug and becomes `internal`, its text kept for the log only. */
export function toHubError(thrown: unknown): HubError {
  if (thrown instanceof HubError) return thrown
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  return new HubError('internal', ERRORS.internal.next, { reason: text, cause: thrown })
}

/** RFC 9457 problem document of an error, the same over HTTP, stdio and `--json`. */
export function problemOf(error: HubError): Record<string, unknown> {
  const { status, kind, next } = ERRORS[error.code]
  return {
    type: `urn:hub:error:${error.code}`,
    title: error.code,
    status,
    code: error.code,
    kind,
    detail: error.message,
    next,
    ...error.facts,
  }
}
