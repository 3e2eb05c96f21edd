/** Operations on the hub's token keys. Private parts never leave the guard ring. */
import type { Grant } from '../../guard/grant.ts'
import type { KeyRing } from '../../guard/identity/key-ring.ts'
import { type Handlers, handler } from '../serve.ts'

export function keyHandlers({ keyRing }: { keyRing: KeyRing }): Handlers {
  return {
    'keys.list': handler({ resource: () => 'keys', effect: () => ({ keys: keyRing.list() }) }),
    'keys.rotate': handler({
      resource: () => 'keys',
      effect: (grant: Grant) => {
        const keys = keyRing.rotate(grant)
        return { keys, auditEffect: `key:${keys[0]?.kid}` }
      },
      after: ({ keys }) => ({ keys }),
    }),
  }
}
