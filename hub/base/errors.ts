/**
 * The one error of the hub and the one table of its codes (docs/protocol.md 11). Each code says whose it is
 * (`refused`: do not retry as it is; `unavailable`: retry later; `fault`: our bug), its HTTP status, what it means and what to do next.
 * The page docs/reference/errors.md is made from this table.
 */

import { type ErrorRow, RUN_FAULTS, row } from './run-faults.ts'

export type { ErrorKind } from './run-faults.ts'

export const ERRORS = {
  unauthenticated: row(
    'refused',
    401,
    'The request does not prove who sends it.',
    'Join again on your own socket; the reason is in the audit log only.',
  ),
  forbidden: row(
    'refused',
    403,
    'The hub knows who asks, and that caller may never do this here.',
    'This caller or entrance may not use the operation; use one that may.',
  ),
  policy_denied: row(
    'refused',
    403,
    'The rules do not allow it.',
    'Read the decision with `hub audit list --json` and change policy/data.json if it should be allowed.',
  ),
  policy_unavailable: row(
    'unavailable',
    503,
    'The rules could not be asked, so nothing is allowed.',
    'Run `hub policy status`; fix the bundle or the data, then `hub policy reload`.',
  ),
  needs_approval: row(
    'refused',
    403,
    'The rules say that a person has to agree first.',
    '`hub approval list` shows what was asked. After a yes, do exactly the same again: it is admitted once.',
  ),
  approval_refused: row(
    'refused',
    403,
    'A person was asked about it and said no, or nobody answered in time.',
    'An agent or a token is not asked about the same again: let it do something else. A person may ask again.',
  ),
  mode_degraded: row(
    'unavailable',
    503,
    'Something the hub depends on does not work, so nothing new starts.',
    '`hub status` says what is wrong and what ends it; do that, then try again.',
  ),
  mode_safe: row(
    'unavailable',
    503,
    'The hub is in safe mode, so nothing new starts.',
    'The hub starts nothing now; `hub status` names the condition and who can end it.',
  ),
  mode_draining: row('unavailable', 503, 'The hub is stopping.', 'The hub is stopping; start it again with `hub up`.'),
  nonce_used: row(
    'refused',
    409,
    'This signed request has arrived before.',
    'Send the request again with a fresh nonce and timestamp.',
  ),
  sequence_broken: row(
    'refused',
    409,
    'A frame of a fast line is missing, or came twice.',
    'Open a new session; the frame sequence must rise by exactly one.',
  ),
  token_revoked: row(
    'refused',
    401,
    'The token was revoked.',
    'The session has ended; nothing more can be sent with this token.',
  ),
  schema_invalid: row(
    'refused',
    400,
    'A field is missing, unknown or has the wrong form.',
    'Correct the field named in the detail.',
  ),
  too_large: row('refused', 413, 'It is larger than its limit.', 'Send less at once; the detail names the limit.'),
  unknown_operation: row(
    'refused',
    404,
    'This entrance has no such operation.',
    'Use an operation of the operations table.',
  ),
  unknown_agent: row(
    'refused',
    404,
    'No agent has this name.',
    'See `hub agent list`; a new agent needs `hub agent build FOLDER`, a card of your own `hub agent reload`.',
  ),
  unknown_flag: row('refused', 404, 'No flag has this name.', 'See `hub flag list`.'),
  flag_locked: row(
    'refused',
    403,
    'It is mandatory, or the profile in force forbids this change.',
    '`hub flag list` says what holds it; under some profiles it takes `--emergency REASON --for SPAN`.',
  ),
  flag_off: row(
    'refused',
    409,
    'A feature flag switches this off.',
    'The detail names the flag. If it should be allowed: `hub flag set NAME on`.',
  ),
  unknown_session: row(
    'refused',
    404,
    'No session has this id.',
    'See `hub session list`; the session may have ended.',
  ),
  unknown_task: row('refused', 404, 'No task has this id.', 'See `hub task list`.'),
  unknown_decision: row(
    'refused',
    404,
    'No decision has this id.',
    '`hub audit show NUMBER` names the decision of a record.',
  ),
  unknown_record: row('refused', 404, 'The audit log has no record of this number.', 'See `hub audit list`.'),
  unknown_artifact: row(
    'refused',
    404,
    'No artifact that you may read has this digest.',
    'See `hub artifact list`; an artifact is named by its SHA-256.',
  ),
  artifact_corrupt: row(
    'fault',
    500,
    'The bytes on the disk do not match the digest.',
    'Its file in artifacts/ is damaged, and the hub never serves it; upload the same bytes again, or restore a backup.',
  ),
  no_capable_agent: row(
    'refused',
    409,
    'No agent has what `needs` asks for.',
    'No registered agent that may take the task has all the capabilities asked for; see `hub agent list`.',
  ),
  agent_unhealthy: row(
    'refused',
    409,
    'The agent gets no work: it crashed too often, was suspended, or has no image.',
    'Look at its log, fix it, then `hub agent reset NAME`.',
  ),
  not_repeatable: row(
    'refused',
    409,
    'The task was cut short, and the card of its agent does not say that it may run twice.',
    'It may have done part of its work: check that, then `hub task retry ID`. If running twice does no harm, say `repeatable: true` in the card.',
  ),
  ...RUN_FAULTS,
  inbox_closed: row('refused', 409, 'The recipient takes no more mail.', 'The recipient has ended; choose another.'),
  mailbox_full: row(
    'unavailable',
    429,
    'Too much unread mail waits for the recipient.',
    'The recipient has not read its mail; try again later.',
  ),
  rate_limited: row(
    'unavailable',
    429,
    'There were too many messages, tries or questions at once.',
    'Wait for retryAfterMs, then try again.',
  ),
  delegation_depth: row(
    'refused',
    403,
    'The chain of delegations is as long as it may be.',
    'This chain of delegations may not get longer; do the work yourself.',
  ),
  delegation_cycle: row(
    'refused',
    403,
    'The agent is already in this chain of delegations.',
    'An agent may be in a chain only once; choose another.',
  ),
  delegation_wider: row(
    'refused',
    403,
    'A child task asked for more than its parent holds.',
    'A child may never hold more than its parent; ask for less.',
  ),
  limit_exceeded: row(
    'refused',
    400,
    'The request asks for more than a limit allows.',
    'Stay within the limit named in the detail, or raise it in hub.yaml up to its ceiling.',
  ),
  egress_denied: row(
    'refused',
    403,
    'What an upstream is asked for is not on the closed list of what passes.',
    'The detail names what does not pass: leave that out, or send it in the form that the detail names.',
  ),
  server_tool_refused: row(
    'refused',
    403,
    'A tool was asked for that runs at the provider and reaches further than the hub sees.',
    'Leave the tool out, or list its type in `upstreams.NAME.serverTools` of hub.yaml. Servers of others (MCP) never pass.',
  ),
  stored_reference_refused: row(
    'refused',
    403,
    'The request refers to something that is stored at the provider.',
    'Send it within the request: what is stored there may belong to other sessions, and nobody counts it.',
  ),
  encoding_refused: row(
    'refused',
    415,
    'The body has a form in which it cannot be judged.',
    'Send application/json in UTF-8, without `content-encoding`.',
  ),
  unsupported_mode: row(
    'refused',
    400,
    'The value is known, but this version does not support it.',
    'This value exists but is not supported; the detail names what is.',
  ),
  image_missing: row(
    'refused',
    409,
    'The image of the agent is not on this machine.',
    'Make it: `hub agent build FOLDER`; those of the hub itself: `node scripts/build-images.ts`, then `hub agent reload`.',
  ),
  image_refused: row(
    'refused',
    409,
    'The image has something that no image may have, or lacks what its card asks for.',
    'The image breaks the rule named in the detail; build it again so that it does not.',
  ),
  engine_unavailable: row(
    'unavailable',
    503,
    'The container engine does not answer.',
    'Start the container engine (`scripts/engine up`), then `hub doctor`.',
  ),
  engine_refused: row(
    'refused',
    409,
    'The container engine refused to do it.',
    'The container engine answers, but refuses this; fix what the detail names (see `hub doctor`), then `hub task retry ID`.',
  ),
  profile_mismatch: row(
    'fault',
    500,
    'A container is not what the hub asked for.',
    'The engine changed a hardened setting; the container was removed. Look at `hub doctor`.',
  ),
  ttl_expired: row(
    'refused',
    408,
    'The session used up its time to live.',
    'Submit again with a longer --ttl, if that is allowed.',
  ),
  budget_exceeded: row(
    'refused',
    403,
    'The call could cost more than is left of a budget.',
    'The detail names the limit and where it is set; `hub budget show` says what is used. Asking again changes nothing.',
  ),
  budget_busy: row(
    'unavailable',
    503,
    'Other calls under way have reserved what is left of a budget, and none of them ended in time.',
    'Try again when they have ended, or raise the limit that the detail names.',
  ),
  model_unknown: row(
    'refused',
    400,
    'No price is known of the model, so what it would cost cannot be reserved.',
    'Set its price (`hub upstream price`), or name a model that has one.',
  ),
  upstream_exhausted: row(
    'refused',
    403,
    'What this key may use at the upstream is used up.',
    'Wait for the time in the detail; it ends by itself, and `hub budget show` has it.',
  ),
  unknown_upstream: row(
    'refused',
    404,
    'No upstream has this name.',
    'Declare it in `upstreams` of hub.yaml, then let its agents reach it; see docs/egress.md.',
  ),
  upstream_failed: row(
    'unavailable',
    502,
    'The upstream could not be reached, broke off, or answered what is no answer.',
    'The detail says what happened. Try again later; if it stays so, look at its address and its secret.',
  ),
  already_resolved: row(
    'refused',
    409,
    'It has already ended, or was already answered.',
    'It is already settled; nothing to do.',
  ),
  conflict: row(
    'refused',
    409,
    'It does not fit the current state.',
    'Something else came first; look at the current state and try again.',
  ),
  store_unavailable: row(
    'unavailable',
    503,
    'The database cannot be written.',
    'The database cannot be written; see `hub doctor`, free space or restart the hub.',
  ),
  audit_unavailable: row(
    'unavailable',
    503,
    'The audit log cannot be written.',
    'Nothing is accepted that cannot be audited; see `hub doctor`.',
  ),
  config_invalid: row('refused', 400, 'A configuration file has a fault.', 'Correct the key named in the detail.'),
  timed_out: row(
    'unavailable',
    504,
    'No answer came in time.',
    'Nothing answered in time; try again or give it longer.',
  ),
  unreadable: row(
    'fault',
    500,
    'A row of the database is damaged.',
    'Its row in the database is damaged; submit it again, and look at `hub doctor`.',
  ),
  cancelled: row('refused', 409, 'Somebody ended it.', 'It was cancelled.'),
  internal: row(
    'fault',
    500,
    'The hub itself has a fault.',
    'This is a bug in the hub; the log has the detail under this id.',
  ),
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

/** Any thrown value as a HubError. What is not one already is our bug: it becomes `internal`, and its text goes to the log only. */
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
