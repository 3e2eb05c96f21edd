/**
 * Where the operator's entrance serves an operation, and where an agent's socket does. Operations without a row belong to the watchdog or the
 * hub itself, or are sent as a message. Kept apart from the shapes of `operations.ts`, because the command needs only this: loading the shapes takes longer than asking the hub.
 */
import type { OperationName } from './operations.ts'

export interface Route {
  method: 'GET' | 'POST' | 'PUT'
  /** `:id` is replaced by the request's own `id`. */
  path: string
}
const get = (path: string): Route => ({ method: 'GET', path })
const post = (path: string): Route => ({ method: 'POST', path })
const put = (path: string): Route => ({ method: 'PUT', path })

const SERVED = {
  'task.submit': post('/v1/tasks'),
  'task.list': get('/v1/tasks'),
  'task.show': get('/v1/tasks/:id'),
  'task.cancel': post('/v1/tasks/:id/cancel'),
  'task.retry': post('/v1/tasks/:id/retry'),
  'task.accept': post('/v1/tasks/:id/accept'),
  'task.release': post('/v1/tasks/:id/release'),
  'task.logs': get('/v1/tasks/:id/logs'),
  'session.list': get('/v1/sessions'),
  'session.show': get('/v1/sessions/:id'),
  'session.logs': get('/v1/sessions/:id/logs'),
  'session.stop': post('/v1/sessions/:id/stop'),
  'session.quarantine': post('/v1/sessions/:id/quarantine'),
  'session.evidence': get('/v1/evidence'),
  'session.revoke': post('/v1/sessions/:id/revoke'),
  'session.turns': get('/v1/sessions/:id/turns'),
  'session.say': post('/v1/sessions/:id/say'),
  'session.interrupt': post('/v1/sessions/:id/interrupt'),
  'session.close': post('/v1/sessions/:id/close'),
  'agent.list': get('/v1/agents'),
  'agent.show': get('/v1/agents/:name'),
  'agent.reload': post('/v1/agents/reload'),
  'agent.reset': post('/v1/agents/:name/reset'),
  'agent.suspend': post('/v1/agents/:name/suspend'),
  'artifact.put': put('/v1/artifacts/:sha256'),
  'artifact.get': get('/v1/artifacts/:sha256'),
  'artifact.list': get('/v1/artifacts'),
  'policy.status': get('/v1/policy'),
  'policy.reload': post('/v1/policy/reload'),
  'policy.show': get('/v1/policy/files'),
  'policy.explain': post('/v1/policy/explain'),
  'decision.list': get('/v1/decisions'),
  'egress.proposals': get('/v1/egress/proposals'),
  'flag.list': get('/v1/flags'),
  'flag.set': post('/v1/flags/:name'),
  'budget.show': get('/v1/budget'),
  'budget.raise': post('/v1/budget/tasks/:id/raise'),
  'budget.settle': post('/v1/budget/calls/:id/settle'),
  'upstream.list': get('/v1/upstreams'),
  'upstream.test': post('/v1/upstreams/:name/test'),
  'upstream.price': get('/v1/upstreams/:name/price'),
  'keys.list': get('/v1/keys'),
  'keys.rotate': post('/v1/keys/rotate'),
  'mode.show': get('/v1/mode'),
  'mode.safe': post('/v1/mode/safe'),
  'mode.resume': post('/v1/mode/resume'),
  'operator.heartbeat': post('/v1/heartbeat'),
  'operator.show': get('/v1/presence'),
  'operator.away': post('/v1/away'),
  'operator.back': post('/v1/back'),
  'hub.shutdown': post('/v1/shutdown'),
  'contact.card': post('/v1/contact/card'),
  'contact.revoke': post('/v1/contact/revoke'),
  'contact.test': post('/v1/contact/test'),
  'contact.confirm': post('/v1/contact/confirm'),
  'hub.drill': post('/v1/drill'),
  'audit.list': get('/v1/audit'),
  'audit.show': get('/v1/audit/records/:seq'),
  'audit.verify': get('/v1/audit/verify'),
  'audit.export': get('/v1/audit/export'),
  'event.stream': get('/v1/events'),
  'health.show': get('/v1/health'),
  'backup.run': post('/v1/backup'),
  'retention.show': get('/v1/retention'),
  'retention.prune': post('/v1/retention/prune'),
  'config.show': get('/v1/config'),
  'doctor.run': get('/v1/doctor'),
  'alert.list': get('/v1/alerts'),
  'alert.test': post('/v1/alerts/test'),
  'monitor.alert': post('/v1/monitor/alerts'),
  'device.add': post('/v1/devices'),
  'console.open': post('/v1/console'),
  'token.create': post('/v1/tokens'),
  'token.list': get('/v1/tokens'),
  'token.revoke': post('/v1/tokens/:name/revoke'),
  'device.list': get('/v1/devices'),
  'device.revoke': post('/v1/devices/:name/revoke'),
  'approval.list': get('/v1/approvals'),
  'approval.show': get('/v1/approvals/:id'),
  'approval.answer': post('/v1/approvals/:id/answer'),
} satisfies Partial<Record<OperationName, Route>>

/** What the operator's entrance serves. */
export type ServedName = keyof typeof SERVED
export const ROUTES: Readonly<Partial<Record<OperationName, Route>>> = SERVED

/** What an agent's own socket serves; `session.open` as an upgrade to a WebSocket. */
export const AGENT_ROUTES = {
  'session.join': post('/v1/join'),
  'session.renew': post('/v1/renew'),
  'session.open': get('/v1/session'),
  'message.send': post('/v1/send'),
  'message.subscribe': post('/v1/subscribe'),
  'message.receive': get('/v1/receive'),
  'artifact.put': put('/v1/artifacts/:sha256'),
  'artifact.get': get('/v1/artifacts/:sha256'),
  'artifact.list': get('/v1/artifacts'),
  'secret.get': get('/v1/secrets/:name'),
  'transcript.put': put('/v1/transcript/:sha256'),
  'transcript.get': get('/v1/transcript'),
} satisfies Partial<Record<OperationName, Route>>
export type AgentRouteName = keyof typeof AGENT_ROUTES
