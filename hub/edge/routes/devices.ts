/** Devices of the operator: made, shown, taken back. */
import type { Device, Devices } from '../../guard/identity/devices.ts'
import { type Handlers, handler, stopHandler } from '../serve.ts'

/** `base`: where the loopback listener is reached, or null while it is off. */
export function deviceHandlers(parts: { devices: Devices; base: () => string | null }): Handlers {
  const { devices, base } = parts
  return {
    'device.add': handler({
      resource: ({ name }: { name: string }) => `device:${name}`,
      effect: (grant, { name, kind }: { name: string; kind: Device['kind'] }) => devices.add(grant, name, kind),
      after: ({ secret }, { name, kind }) => {
        const [path, origin] = [`/hook/${secret}`, base()]
        return { name, kind, path, url: origin === null ? null : `${origin}${path}` }
      },
    }),
    'device.list': handler({ effect: () => ({ devices: devices.list() }) }),
    'device.revoke': stopHandler({
      resource: ({ name }: { name: string }) => `device:${name}`,
      effect: (grant, { name }: { name: string }) => devices.revoke(grant, name),
      after: (_result, { name }: { name: string }) => ({ name, revoked: true }),
    }),
  }
}
