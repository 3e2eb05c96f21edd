/** `console.open`: a one-time link to the page, for whoever has the operator's socket. */
import { HubError } from '../../base/errors.ts'
import type { ConsoleLinks } from '../../guard/identity/console-links.ts'
import type { Credentials } from '../../guard/identity/credentials.ts'
import { type Handlers, handler } from '../serve.ts'

interface Wish {
  name?: string
  rights: string[]
  expiresInMs: number
}

/** `console`, else `console-2` and so on. Names are used again, so the list of devices stays short. Pure. */
export function freeName(taken: ReadonlySet<string>): string {
  for (let count = 1; ; count += 1) {
    const name = count === 1 ? 'console' : `console-${count}`
    if (!taken.has(name)) return name
  }
}

/** `base`: where the loopback listener is reached from this machine; null while it is off. */
export function consoleHandlers(parts: {
  links: ConsoleLinks
  credentials: Pick<Credentials, 'namesInForce'>
  base: () => string | null
}): Handlers {
  const { links, credentials, base } = parts
  return {
    'console.open': handler({
      resource: ({ name }: Wish) => (name === undefined ? 'console' : `device:${name}`),
      effect: (grant, { name: wanted, rights, expiresInMs }: Wish) => {
        const origin = base()
        if (origin === null)
          throw new HubError('conflict', 'the loopback listener is off; set http.port in hub.yaml and `hub restart`')
        const taken = new Set([...credentials.namesInForce(), ...links.names()])
        if (wanted !== undefined && taken.has(wanted))
          throw new HubError('conflict', `there is already a device or a link named ${wanted}; choose another --name`)
        const name = wanted ?? freeName(taken)
        const { code, expiresAtMs } = links.make(grant, { name, rights, expiresInMs })
        return { name, rights, expiresInMs, origin, code, linkExpiresAtMs: expiresAtMs, auditEffect: `device:${name}` }
      },
      // After the sign #: no browser sends that part to a server or writes it into a Referer.
      after: ({ name, rights, expiresInMs, origin, code, linkExpiresAtMs }) => ({
        name,
        rights,
        expiresInMs,
        linkExpiresAtMs,
        url: `${origin}/console#${code}`,
      }),
    }),
  }
}
