/** One secret over an agent's own socket: decided and recorded by name on every fetch, never cached, its bytes scrubbed once sent (S1-53). */
import { sha256Hex } from '../base/canonical.ts'
import { scrub } from '../base/random.ts'
import type { Call, Gate } from '../guard/gate.ts'
import { OPERATIONS, type OperationName } from '../protocol/operations.ts'
import { parseShape } from '../protocol/parse.ts'
import type { Secrets } from '../work/sandbox/secrets.ts'
import type { AgentCaller, AgentExchange } from './agent-requests.ts'

const EMPTY_SHA256 = sha256Hex('')

export function agentSecrets(
  { gate, secrets }: { gate: Gate; secrets: Secrets },
  byToken: (exchange: AgentExchange, bodySha256: string) => Promise<AgentCaller>,
  own: (
    exchange: AgentExchange,
    operation: OperationName,
    caller: AgentCaller,
    facts?: Record<string, unknown>,
  ) => Call,
) {
  return async (exchange: AgentExchange): Promise<void> => {
    const caller = await byToken(exchange, EMPTY_SHA256)
    const { name } = parseShape(OPERATIONS['secret.get'].request, { name: exchange.url.pathname.split('/').pop() })
    const call = { ...own(exchange, 'secret.get', caller, { name }), resource: `secret:${name}` }
    const value = gate.admit(call, (grant) => secrets.get(grant, name))
    const { response } = exchange
    response.once('close', () => scrub(value))
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': value.length,
      'cache-control': 'no-store',
    })
    response.end(value)
  }
}
