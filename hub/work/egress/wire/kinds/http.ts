/** What passes to any other server: what `allow` of the upstream lists. */
import { refused } from '../judged.ts'
import { asked, type KindRule, notListed } from './endpoints.ts'

/** Keys of a query in which servers look for a credential. The hub's own goes in a header. */
const CREDENTIAL =
  /^(?:access_token|api[-_]?key|apikey|auth|auth_token|authorization|client_secret|password|private_token)$/i

export const httpRule: KindRule = (upstream, method, target) => {
  const isListed = upstream.allow.some((entry) => {
    const [verb = '', path = ''] = entry.split(' ')
    if (verb !== method) return false
    return path.endsWith('*') ? target.path.startsWith(path.slice(0, -1)) : target.path === path
  })
  if (!isListed) return notListed(upstream, method, target)
  const credential = target.query.find(([key]) => CREDENTIAL.test(key))
  if (credential !== undefined)
    return refused(
      'egress_denied',
      `the key ${credential[0]} of the query is a place for a credential; leave it out, the hub adds its own`,
    )
  return asked(target, { class: method === 'GET' || method === 'HEAD' ? 'read' : 'write' })
}
