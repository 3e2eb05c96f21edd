/** What passes to an index of Python packages: the simple index and the archives it names, read only. */
import { asked, type KindRule, notListed } from './endpoints.ts'
import { FILES_PREFIX } from './npm.ts'

const INDEX = /^\/simple(?:\/(?:[A-Za-z0-9][\w.-]*\/?)?)?$/
const ARCHIVE = /^\/(?:[\w.+!~-]+\/)*[\w.+!~-]+\.(?:whl|tar\.gz|tar\.bz2|zip|egg)(?:\.metadata)?$/

export const pypiRule: KindRule = (upstream, method, target) => {
  if ((method !== 'GET' && method !== 'HEAD') || target.query.length > 0)
    return notListed(upstream, method, target, [
      [/./, 'only GET and HEAD without a query pass: nothing is uploaded or searched through here'],
    ])
  if (target.path.startsWith(`${FILES_PREFIX}/`)) {
    const path = target.path.slice(FILES_PREFIX.length)
    if (upstream.files === undefined || !ARCHIVE.test(path)) return notListed(upstream, method, target)
    return asked(target, { class: 'read', host: 'files', path })
  }
  if (INDEX.test(target.path) && !ARCHIVE.test(target.path)) {
    // The address of an index is often written with its last part.
    const path = upstream.url.endsWith('/simple') ? target.path.replace(/^\/simple/, '') || '/' : target.path
    return asked(target, { class: 'read', path })
  }
  if (ARCHIVE.test(target.path) && upstream.files === undefined) return asked(target, { class: 'read' })
  return notListed(upstream, method, target)
}
