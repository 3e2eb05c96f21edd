/** Devices and tokens of the operator: made, shown, revoked. */

import { HubError } from '../../base/errors.ts'
import {
  type CredentialKind,
  type Credentials,
  DEVICE_KINDS,
  type NewCredential,
  TOKEN_KINDS,
} from '../../guard/identity/credentials.ts'
import { operationOf } from '../../protocol/operations.ts'
import { type Handlers, handler, stopHandler } from '../serve.ts'

interface DeviceWish {
  name: string
  kind: 'webhook' | 'app'
  rights: string[]
  expiresInMs?: number
}
interface TokenWish {
  name: string
  actions: string[]
  expiresInMs: number
}

/** `base`: where the loopback listener is reached; null while it is off. */
export function deviceHandlers(parts: {
  credentials: Credentials
  nowMs: () => number
  base: () => string | null
}): Handlers {
  const { credentials, nowMs, base } = parts
  const endOf = (expiresInMs: number | undefined) => (expiresInMs === undefined ? null : nowMs() + expiresInMs)
  const made = ({ name, kind, scope, expiresAtMs }: NewCredential, secret: string) => {
    const origin = base()
    const path = kind === 'webhook' ? `/hook/${secret}` : '/v1'
    const url = origin === null ? null : `${origin}${path}`
    return { name, kind, scope, expiresAtMs, path, url, ...(kind === 'webhook' ? {} : { secret }) }
  }
  const revoking = (family: string, kinds: readonly CredentialKind[]) =>
    stopHandler({
      resource: ({ name }: { name: string }) => `${family}:${name}`,
      effect: (grant, { name }: { name: string }) => credentials.revoke(grant, name, kinds),
      after: (_result, { name }: { name: string }) => ({ name, revoked: true }),
    })
  return {
    'device.add': handler({
      resource: ({ name }: DeviceWish) => `device:${name}`,
      // Whoever is asked about it has to see what it would be able to do.
      facts: ({ name, kind, rights, expiresInMs }: DeviceWish) => ({
        name,
        kind,
        rights,
        expiresInMs: expiresInMs ?? null,
      }),
      effect: (grant, { name, kind, rights, expiresInMs }: DeviceWish) => {
        const wanted = {
          name,
          kind,
          scope: kind === 'webhook' ? ['heartbeat'] : rights,
          expiresAtMs: endOf(expiresInMs),
        }
        return { wanted, ...credentials.add(grant, wanted) }
      },
      after: ({ wanted, secret }) => made(wanted, secret),
    }),
    'device.list': handler({ effect: () => ({ devices: credentials.list(DEVICE_KINDS) }) }),
    'device.revoke': revoking('device', DEVICE_KINDS),
    'token.create': handler({
      resource: ({ name }: TokenWish) => `token:${name}`,
      facts: ({ name, actions, expiresInMs }: TokenWish) => ({ name, actions, expiresInMs: expiresInMs ?? null }),
      effect: (grant, { name, actions, expiresInMs }: TokenWish) => {
        const never = actions.find((action) => operationOf(action)?.reach.includes('automation') !== true)
        if (never !== undefined) throw new HubError('schema_invalid', `actions: ${never} cannot be given to a token`)
        const wanted = { name, kind: 'token' as const, scope: actions, expiresAtMs: endOf(expiresInMs) }
        return { wanted, ...credentials.add(grant, wanted) }
      },
      after: ({ wanted, secret }) => made(wanted, secret),
    }),
    'token.list': handler({ effect: () => ({ tokens: credentials.list(TOKEN_KINDS) }) }),
    'token.revoke': revoking('token', TOKEN_KINDS),
  }
}
