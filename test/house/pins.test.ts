/**
 * What others rely on, written out here and never imported: a change of a name, code, label or path has to be made twice, on purpose.
 * And two rules that only the sources can show: who mints grants, and that work asks for them.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERRORS } from '../../hub/base/errors.ts'
import type { ArtifactRow } from '../../hub/client/agent/contract.ts'
import type { ArtifactView, TaskView } from '../../hub/client/answers.ts'
import type { taskView } from '../../hub/edge/views.ts'
import { EVENTS } from '../../hub/protocol/events.ts'
import { OPERATIONS, type Operation, operationOf } from '../../hub/protocol/operations.ts'
import { ROUTES } from '../../hub/protocol/routes.ts'
import { STOP_GRACE_MS } from '../../hub/protocol/stop-grace.ts'
import type { ArtifactView as HubArtifact } from '../../hub/work/artifacts.ts'
import { LABEL_KEYS, STOP_TIMEOUT_S } from '../../hub/work/sandbox/profile-lists.ts'
import { GRACE } from '../../images/agent/ending.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import { readTree, repositoryRoot, scan, type Tree } from './source.ts'

/** Where the operator's entrance serves an operation, and under which name rules, tokens and the audit log know it. */
const PATH_PINS: [string, string][] = [
  ['task.submit', 'POST /v1/tasks'],
  ['task.list', 'GET /v1/tasks'],
  ['task.show', 'GET /v1/tasks/:id'],
  ['task.cancel', 'POST /v1/tasks/:id/cancel'],
  ['task.retry', 'POST /v1/tasks/:id/retry'],
  ['task.accept', 'POST /v1/tasks/:id/accept'],
  ['task.release', 'POST /v1/tasks/:id/release'],
  ['task.logs', 'GET /v1/tasks/:id/logs'],
  ['session.list', 'GET /v1/sessions'],
  ['session.show', 'GET /v1/sessions/:id'],
  ['session.logs', 'GET /v1/sessions/:id/logs'],
  ['session.stop', 'POST /v1/sessions/:id/stop'],
  ['session.evidence', 'GET /v1/evidence'],
  ['session.quarantine', 'POST /v1/sessions/:id/quarantine'],
  ['session.revoke', 'POST /v1/sessions/:id/revoke'],
  ['session.turns', 'GET /v1/sessions/:id/turns'],
  ['session.say', 'POST /v1/sessions/:id/say'],
  ['session.interrupt', 'POST /v1/sessions/:id/interrupt'],
  ['session.close', 'POST /v1/sessions/:id/close'],
  ['agent.list', 'GET /v1/agents'],
  ['agent.show', 'GET /v1/agents/:name'],
  ['agent.reload', 'POST /v1/agents/reload'],
  ['agent.reset', 'POST /v1/agents/:name/reset'],
  ['agent.suspend', 'POST /v1/agents/:name/suspend'],
  ['artifact.put', 'PUT /v1/artifacts/:sha256'],
  ['artifact.get', 'GET /v1/artifacts/:sha256'],
  ['artifact.list', 'GET /v1/artifacts'],
  ['policy.status', 'GET /v1/policy'],
  ['policy.reload', 'POST /v1/policy/reload'],
  ['policy.show', 'GET /v1/policy/files'],
  ['policy.explain', 'POST /v1/policy/explain'],
  ['decision.list', 'GET /v1/decisions'],
  ['egress.proposals', 'GET /v1/egress/proposals'],
  ['flag.list', 'GET /v1/flags'],
  ['flag.set', 'POST /v1/flags/:name'],
  ['budget.show', 'GET /v1/budget'],
  ['budget.raise', 'POST /v1/budget/tasks/:id/raise'],
  ['budget.settle', 'POST /v1/budget/calls/:id/settle'],
  ['upstream.list', 'GET /v1/upstreams'],
  ['upstream.test', 'POST /v1/upstreams/:name/test'],
  ['upstream.price', 'GET /v1/upstreams/:name/price'],
  ['keys.list', 'GET /v1/keys'],
  ['keys.rotate', 'POST /v1/keys/rotate'],
  ['mode.show', 'GET /v1/mode'],
  ['mode.safe', 'POST /v1/mode/safe'],
  ['mode.resume', 'POST /v1/mode/resume'],
  ['operator.heartbeat', 'POST /v1/heartbeat'],
  ['operator.show', 'GET /v1/presence'],
  ['operator.away', 'POST /v1/away'],
  ['operator.back', 'POST /v1/back'],
  ['hub.shutdown', 'POST /v1/shutdown'],
  ['contact.card', 'POST /v1/contact/card'],
  ['contact.revoke', 'POST /v1/contact/revoke'],
  ['contact.test', 'POST /v1/contact/test'],
  ['contact.confirm', 'POST /v1/contact/confirm'],
  ['hub.drill', 'POST /v1/drill'],
  ['audit.list', 'GET /v1/audit'],
  ['audit.show', 'GET /v1/audit/records/:seq'],
  ['audit.verify', 'GET /v1/audit/verify'],
  ['audit.export', 'GET /v1/audit/export'],
  ['event.stream', 'GET /v1/events'],
  ['health.show', 'GET /v1/health'],
  ['backup.run', 'POST /v1/backup'],
  ['retention.show', 'GET /v1/retention'],
  ['retention.prune', 'POST /v1/retention/prune'],
  ['config.show', 'GET /v1/config'],
  ['doctor.run', 'GET /v1/doctor'],
  ['alert.list', 'GET /v1/alerts'],
  ['alert.test', 'POST /v1/alerts/test'],
  ['monitor.alert', 'POST /v1/monitor/alerts'],
  ['device.add', 'POST /v1/devices'],
  ['console.open', 'POST /v1/console'],
  ['token.create', 'POST /v1/tokens'],
  ['token.list', 'GET /v1/tokens'],
  ['token.revoke', 'POST /v1/tokens/:name/revoke'],
  ['device.list', 'GET /v1/devices'],
  ['device.revoke', 'POST /v1/devices/:name/revoke'],
  ['approval.list', 'GET /v1/approvals'],
  ['approval.show', 'GET /v1/approvals/:id'],
  ['approval.answer', 'POST /v1/approvals/:id/answer'],
]

/** Code, whose it is, HTTP status. */
const ERROR_PINS: [string, string, number][] = [
  ['unauthenticated', 'refused', 401],
  ['forbidden', 'refused', 403],
  ['policy_denied', 'refused', 403],
  ['policy_unavailable', 'unavailable', 503],
  ['needs_approval', 'refused', 403],
  ['approval_refused', 'refused', 403],
  ['mode_degraded', 'unavailable', 503],
  ['mode_safe', 'unavailable', 503],
  ['mode_draining', 'unavailable', 503],
  ['nonce_used', 'refused', 409],
  ['sequence_broken', 'refused', 409],
  ['token_revoked', 'refused', 401],
  ['schema_invalid', 'refused', 400],
  ['too_large', 'refused', 413],
  ['unknown_operation', 'refused', 404],
  ['unknown_agent', 'refused', 404],
  ['unknown_flag', 'refused', 404],
  ['flag_locked', 'refused', 403],
  ['flag_off', 'refused', 409],
  ['unknown_session', 'refused', 404],
  ['unknown_task', 'refused', 404],
  ['unknown_decision', 'refused', 404],
  ['unknown_record', 'refused', 404],
  ['unknown_artifact', 'refused', 404],
  ['artifact_corrupt', 'fault', 500],
  ['no_capable_agent', 'refused', 409],
  ['agent_unhealthy', 'refused', 409],
  ['not_repeatable', 'refused', 409],
  ['nothing_done', 'refused', 409],
  ['branch_lost', 'refused', 409],
  ['not_started', 'refused', 409],
  ['not_ready', 'refused', 409],
  ['version_refused', 'refused', 409],
  ['login_needed', 'refused', 409],
  ['prompt_refused', 'refused', 409],
  ['turn_refused', 'refused', 409],
  ['turn_limited', 'refused', 409],
  ['turn_failed', 'refused', 409],
  ['ended_early', 'refused', 409],
  ['result_unreadable', 'refused', 409],
  ['inbox_closed', 'refused', 409],
  ['mailbox_full', 'unavailable', 429],
  ['rate_limited', 'unavailable', 429],
  ['delegation_depth', 'refused', 403],
  ['delegation_cycle', 'refused', 403],
  ['delegation_wider', 'refused', 403],
  ['limit_exceeded', 'refused', 400],
  ['egress_denied', 'refused', 403],
  ['server_tool_refused', 'refused', 403],
  ['stored_reference_refused', 'refused', 403],
  ['encoding_refused', 'refused', 415],
  ['unsupported_mode', 'refused', 400],
  ['image_missing', 'refused', 409],
  ['image_refused', 'refused', 409],
  ['engine_unavailable', 'unavailable', 503],
  ['engine_refused', 'refused', 409],
  ['profile_mismatch', 'fault', 500],
  ['ttl_expired', 'refused', 408],
  ['budget_exceeded', 'refused', 403],
  ['budget_busy', 'unavailable', 503],
  ['model_unknown', 'refused', 400],
  ['upstream_exhausted', 'refused', 403],
  ['unknown_upstream', 'refused', 404],
  ['upstream_failed', 'unavailable', 502],
  ['already_resolved', 'refused', 409],
  ['conflict', 'refused', 409],
  ['store_unavailable', 'unavailable', 503],
  ['audit_unavailable', 'unavailable', 503],
  ['config_invalid', 'refused', 400],
  ['timed_out', 'unavailable', 504],
  ['unreadable', 'fault', 500],
  ['cancelled', 'refused', 409],
  ['internal', 'fault', 500],
]

describe('pinned names', () => {
  it('of every path, with its operation', () => {
    const rows = Object.entries(ROUTES).map(([name, { method, path }]) => [name, `${method} ${path}`])
    expect(rows.sort()).toEqual(PATH_PINS.sort())
  })

  it('of operations are their own keys only, and audit kinds and paths are used once', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'task', '', 'task.submit '])
      expect(operationOf(name)).toBeUndefined()
    const audits = Object.values<Operation>(OPERATIONS).map(({ audit }) => audit)
    expect(new Set(audits).size).toBe(audits.length)
    const paths = PATH_PINS.map(([, path]) => path)
    expect(new Set(paths).size).toBe(paths.length)
  })

  it('of error codes, with kind and status', () => {
    expect(Object.entries(ERRORS).map(([code, { kind, status }]) => [code, kind, status])).toEqual(ERROR_PINS)
  })

  it('of container labels', () => {
    expect([...LABEL_KEYS]).toEqual([
      'hub.instance',
      'hub.session',
      'hub.task',
      'hub.attempt',
      'hub.agent',
      'hub.generation',
      'hub.expires-at',
      'hub.expires-boot',
    ])
  })

  it('of events', () => {
    expect(Object.keys(EVENTS)).toEqual([
      'hub.task.queued.v1',
      'hub.task.running.v1',
      'hub.task.progress.v1',
      'hub.session.turn.v1',
      'hub.task.log.v1',
      'hub.task.asked.v1',
      'hub.approval.asked.v1',
      'hub.approval.answered.v1',
      'hub.task.completed.v1',
      'hub.session.started.v1',
      'hub.session.ended.v1',
      'hub.message.refused.v1',
      'hub.agent.crashed.v1',
      'hub.agent.halted.v1',
      'hub.agent.image_changed.v1',
      'hub.artifact.quarantined.v1',
      'hub.flag.changed.v1',
      'hub.mode.changed.v1',
      'hub.alert.raised.v1',
      'hub.alert.resolved.v1',
    ])
  })
})

describe("the reference's table of errors", () => {
  const lines = readFileSync(join(repositoryRoot, 'docs/reference/errors.md'), 'utf8').split('\n')
  const start = lines.indexOf('| Code | Kind | HTTP | Exit | Meaning | What to do |')
  const end = lines.findIndex((line, at) => at > start && !line.startsWith('|'))

  it('is there', () => expect(start).toBeGreaterThan(0))

  it('has every code with whose it is and what to do, and none besides', () => {
    const table = lines.slice(start + 2, end === -1 ? undefined : end).map((line) => line.split(' | '))
    expect(table.map(([code, kind, , , , next]) => [code, kind, next])).toEqual(
      Object.entries(ERRORS).map(([code, { kind, next }]) => [`| \`${code}\``, kind, `${next} |`]),
    )
  })
})

/** Whoever imports or names a minting function. */
function minters(tree: Tree): string[] {
  return [...tree].filter(([, text]) => /\bmint(?:Stop|Ask)?Grant\b/.test(scan(text).code)).map(([path]) => path)
}

/** The text from the bracket at `open` to its partner, both included. */
function enclosed(code: string, open: number): string {
  let depth = 0
  for (let at = open; at < code.length; at += 1) {
    if ('({['.includes(code[at] ?? '')) depth += 1
    else if (')}]'.includes(code[at] ?? '')) depth -= 1
    if (depth === 0) return code.slice(open, at + 1)
  }
  return code.slice(open)
}

/**
 * Functions with a parameter named `grant` whose body neither asserts it nor hands it on as an argument. By their text only: a grant
 * under another name is not seen, which is why every interface that takes a Grant must find its implementation here.
 */
function unproven(tree: Tree): { found: number; findings: string[] } {
  const findings: string[] = []
  let found = 0
  for (const [path, text] of tree) {
    const { code } = scan(text)
    const declared = new Set(
      [...code.matchAll(/^ {2}(\w+)\(\s*grant: (?:Stop)?Grant\b/gm)].map((match) => match[1] ?? ''),
    )
    for (const match of code.matchAll(/(?:\bfunction\s+|^\s+(?:async\s+)?)(\w+)\(/gm)) {
      const name = match[1] ?? ''
      const parameters = enclosed(code, match.index + match[0].length - 1)
      if (!/[(\s,]grant\s*[:,)]/.test(parameters)) continue
      const after = match.index + match[0].length - 1 + parameters.length
      // A body follows, past a result type where there is one; after a call or a declaration none does.
      const opening = /^(?::[^\n={;]*)?\s\{/.exec(code.slice(after))
      if (opening === null) continue
      found += 1
      declared.delete(name)
      const body = enclosed(code, after + opening[0].length - 1)
      const asserted = /\bassert(?:Stop)?Grant\(grant\b/.test(body)
      const handedOn = /\w\((?:[^()]*,\s*)?grant\s*[,)]/.test(body)
      if (!asserted && !handedOn) findings.push(`${path}: ${name} takes a grant and does not look at it`)
    }
    for (const name of declared) findings.push(`${path}: ${name} takes a grant, but its body was not found`)
  }
  return { found, findings }
}

describe('grants', () => {
  it('are minted by the gate alone', () => {
    expect(minters(readTree(['hub', 'watchdog', 'images'], ['.ts', '.js', '.mjs']))).toEqual([
      'hub/guard/gate.ts',
      'hub/guard/grant.ts',
    ])
    expect(minters(new Map([['hub/work/x.ts', "import { mintGrant as m } from '../guard/grant.ts'"]]))).toHaveLength(1)
    expect(minters(new Map([['hub/work/x.ts', "// mintGrant\nconst s = 'mintGrant'"]]))).toEqual([])
  })

  it('are asserted or handed on by every function of work that takes one', () => {
    const { found, findings } = unproven(readTree(['hub/work'], ['.ts']))
    expect(findings).toEqual([])
    expect(found).toBeGreaterThan(15)
  })

  it.each([
    ['    stop(grant, id) {\n      rows.remove(id)\n    },', 1],
    ['    async stop(grant, id) {\n      // assertGrant(grant)\n      rows.remove(id)\n    },', 1],
    ['export function stop(\n  options: { a: number },\n  grant: StopGrant,\n): void {\n  remove(options)\n}', 1],
    ['export interface X {\n  stop(grant: Grant, id: string): void\n}', 1],
    ['    stop(grant, id) {\n      assertStopGrant(grant)\n      rows.remove(id)\n    },', 0],
    ['    stop(grant, id) {\n      tasks.stop(id, grant)\n    },', 0],
  ])('that are not looked at are found: %j', (text, count) => {
    expect(unproven(new Map([['hub/work/x.ts', text]])).findings).toHaveLength(count)
  })
})

describe('what is written in more than one place says the same (fault D16)', () => {
  it('the time between SIGTERM and SIGKILL: of the hub, the profile, the filter, the shim and the watchdog, which knows none of them', () => {
    expect(STOP_GRACE_MS).toBe(5_000)
    expect([STOP_TIMEOUT_S * 1000, GRACE.ms, parseConfig({}).stopGraceMs]).toEqual(Array(3).fill(STOP_GRACE_MS))
    // No private copy of it, under whatever name, beside that of the watchdog.
    const copies = [...readTree(['hub', 'images'], ['.ts'])].flatMap(([path, text]) =>
      [...scan(text).code.matchAll(/\b\w*(?:GRACE|KILL|TERM)\w*\s*=\s*5_?000\b/g)].map(
        ([found]) => `${path}: ${found}`,
      ),
    )
    expect(copies).toEqual(['hub/protocol/stop-grace.ts: STOP_GRACE_MS = 5_000'])
  })

  it('the shapes of tasks and artifacts, as the hub answers and as the command reads them', () => {
    // Held by the types: what the hub answers fits what the command reads, field by field.
    const task: (of: ReturnType<typeof taskView>) => TaskView = (of) => of
    const artifact: (of: HubArtifact) => Pick<ArtifactView, 'name' | 'sha256' | 'size'> = (of) => of
    const agentsOwn: (of: HubArtifact) => ArtifactRow = (of) => of
    expect([task, artifact, agentsOwn].map((same) => same.length)).toEqual([1, 1, 1])
  })
})
