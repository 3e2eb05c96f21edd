/** What passes to a registry of npm: packages and their archives, read only. */
import { refused } from '../judged.ts'
import { asked, type KindRule, type Known, notListed } from './endpoints.ts'

/** Where the second host of a registry is asked for below this upstream. */
export const FILES_PREFIX = '/-files'

/** An archive of a package, or what is kept beside one. */
export const isArchive = (path: string) => /\.(?:tgz|whl|tar\.gz|tar\.bz2|zip|egg|metadata)$/.test(path)

const NAME = String.raw`(?:@[\w.~-]+(?:\/|%2F))?[A-Za-z0-9_][\w.~-]*`
const VERSION = String.raw`[A-Za-z0-9][\w.+~-]*`
const ONE_VERSION = new RegExp(`^/${NAME}/${VERSION}$`)
const PATHS = [
  new RegExp(`^/${NAME}$`),
  ONE_VERSION,
  new RegExp(`^/${NAME}/-/[\\w.+@~/-]+\\.tgz$`),
  new RegExp(`^/-/package/${NAME}/dist-tags$`),
  /^\/-\/ping$/,
]
const KNOWN: Known = [
  [
    /^\/-\/npm\/v1\/(?:security|audit)/,
    'audits send the list of packages outward and are not passed; set audit=false in .npmrc',
  ],
  [
    /^\/-\/(?:v1\/login|user|npm\/v1\/(?:user|tokens))/,
    'accounts of the registry are not passed; the hub adds its key',
  ],
  [/^\/-\/v1\/search$/, 'searching is not passed; ask for a package by its name'],
]

export const npmRule: KindRule = (upstream, method, target) => {
  if (method !== 'GET' && method !== 'HEAD')
    return notListed(upstream, method, target, [
      ...KNOWN,
      [/./, 'only GET and HEAD pass: nothing is published through here'],
    ])
  if (target.query.some(([key, value]) => key !== 'write' || value !== 'true'))
    return notListed(upstream, method, target, KNOWN)
  if (target.path.startsWith(`${FILES_PREFIX}/`)) {
    if (upstream.files === undefined || !target.path.endsWith('.tgz') || target.path.includes('%'))
      return notListed(upstream, method, target)
    return asked(target, { class: 'read', host: 'files', path: target.path.slice(FILES_PREFIX.length), query: [] })
  }
  if (upstream.minAgeMs !== undefined && (ONE_VERSION.test(target.path) || target.path.startsWith('/-/package/')))
    return refused(
      'egress_denied',
      'minAge of this upstream is judged by the whole page of a package; ask for it without a version',
    )
  if (!PATHS.some((path) => path.test(target.path))) return notListed(upstream, method, target, KNOWN)
  if (/%2F/.test(target.path) && !/^\/(?:-\/package\/)?@[^/%]+%2F[^%]+$/.test(target.path))
    return refused('egress_denied', 'an escaped slash passes only between scope and name of a package')
  // As npm itself writes it.
  return asked(target, { class: 'read', path: target.path.replace('%2F', '%2f'), query: [] })
}
