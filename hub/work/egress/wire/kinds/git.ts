/** What passes to a git server: the smart protocol over HTTP, to the repositories that are listed. What a push holds is judged by `pushes.ts`. */
import type { Upstream } from '../../../../protocol/egress/upstreams.ts'
import { refused } from '../judged.ts'
import { asked, type KindRule, type Known, notListed } from './endpoints.ts'

const REQUEST =
  /^\/(?<repository>[A-Za-z0-9_][\w.-]*(?:\/[A-Za-z0-9_][\w.-]*)*)\/(?<what>info\/refs|git-upload-pack|git-receive-pack)$/
const KNOWN: Known = [
  [
    /\/info\/lfs(?:\/|$)/,
    'LFS is not passed: its files come from other hosts. Set GIT_LFS_SKIP_SMUDGE=1, or keep such files out',
  ],
  [/\/(?:objects\/|HEAD$)/, 'the dumb protocol of git is not passed; the server must speak the smart one'],
]

/** `me/tool`, or `me/*` for all below. */
export const matchesGlob = (globs: readonly string[], name: string): boolean =>
  globs.some((glob) => (glob.endsWith('/*') ? name.startsWith(glob.slice(0, -1)) : name === glob))

export const gitRule: KindRule = (upstream, method, target) => {
  const { repository: named = '', what } = REQUEST.exec(target.path)?.groups ?? {}
  const repository = named.replace(/\.git$/, '')
  if (what === undefined) return notListed(upstream, method, target, KNOWN)
  if (!matchesGlob(upstream.repositories, repository))
    return refused(
      'egress_denied',
      `the repository ${repository} is not listed: add it to upstreams.${upstream.name}.repositories in hub.yaml`,
    )
  if (what === 'info/refs') {
    const [[key, service] = [], ...more] = target.query
    if (method !== 'GET' || key !== 'service' || more.length > 0)
      return refused(
        'egress_denied',
        'the dumb protocol of git is not passed; ask for info/refs with ?service=git-upload-pack',
      )
    if (service === 'git-upload-pack') return asked(target, { class: 'read' })
    return service === 'git-receive-pack' ? pushed(upstream, target) : notListed(upstream, method, target)
  }
  if (method !== 'POST' || target.query.length > 0) return notListed(upstream, method, target)
  return what === 'git-upload-pack' ? asked(target, { class: 'read', mayZip: true }) : pushed(upstream, target)
}

function pushed(upstream: Upstream, target: Parameters<KindRule>[2]): ReturnType<KindRule> {
  if (upstream.push.length === 0)
    return refused(
      'egress_denied',
      `no branch may be pushed to: list some in upstreams.${upstream.name}.push in hub.yaml, such as hub/*`,
    )
  return asked(target, { class: 'write' })
}
