/** The base layer: a Node binary (by default the one that runs this), its shared libraries, the names of users, empty mount points. No shell. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { FIRST_USER, USERS } from '../../hub/work/sandbox/users.ts'
import { type Layer, layerOf } from './archive.ts'
import { cachedLayer } from './layer-cache.ts'
import { ownParts, type Parts } from './machine.ts'
import { type Content, fileData, type TarEntry } from './tar.ts'

/** Where the binary is in the image: on the engine's default PATH, so that a card may say `node`. */
const NODE_PATH = 'usr/local/bin/node'

/**
 * passwd(5) and group(5): root, the user of the image itself, and every user that a session may have (fault F14). Each has a name and a home;
 * without them git, `os.userInfo()` and other programs fail.
 */
export function accountsOf(firstUser: number): { passwd: string; group: string } {
  const range = Array.from({ length: USERS }, (_, at) => ({ name: `agent${at}`, id: firstUser + at }))
  const all = [{ name: 'agent', id: 65_532 }, ...range.filter(({ id }) => id !== 65_532)]
  const passwd = all.map(({ name, id }) => `${name}:x:${id}:${id}:agent:/workspace:/none\n`)
  const group = all.map(({ name, id }) => `${name}:x:${id}:\n`)
  return { passwd: `root:x:0:0:root:/:/none\n${passwd.join('')}`, group: `root:x:0:\n${group.join('')}` }
}

function entriesOf({ node, libraries }: Parts, { passwd, group }: ReturnType<typeof accountsOf>): TarEntry[] {
  const folder = (path: string): TarEntry => ({ path, kind: 'folder', mode: 0o755 })
  const file = (path: string, data: Content, mode = 0o644): TarEntry => ({ path, kind: 'file', mode, data })
  return [
    folder('tmp'),
    folder('workspace'),
    folder('run/hub'),
    file('etc/passwd', Buffer.from(passwd)),
    file('etc/group', Buffer.from(group)),
    file(NODE_PATH, fileData(node), 0o755),
    ...libraries.map(({ path, from }) => file(path.slice(1), fileData(from), 0o755)),
  ]
}

/** The lowest major version that is enough, from `engines` of package.json (`scripts/node` reads it too). */
export function leastNode(packagePath: string = join(import.meta.dirname, '..', '..', 'package.json')): number {
  const { engines } = JSON.parse(readFileSync(packagePath, 'utf8')) as { engines?: { node?: string } }
  const least = /^>=(\d+)$/.exec(engines?.node ?? '')?.[1]
  if (least === undefined) throw new Error(`${packagePath}: engines.node must be written as ">=24"`)
  return Number(least)
}

/** Why images cannot be assembled from this Node, or undefined if they can. */
export function unfitNode(version: string, platform: string, least: number = leastNode()): string | undefined {
  const major = Number(/^v(\d+)\./.exec(version)?.[1])
  if (platform === 'linux' && major >= least) return undefined
  return `images are assembled from Node ${least} or later on Linux, this is ${version} on ${platform}; \`. scripts/node\` puts one on PATH`
}

/** The base layer; from the cache if none of its parts has changed. */
export function baseLayer(cacheDir: string, parts: Parts = ownParts(), firstUser: number = FIRST_USER): Layer {
  const unfit = unfitNode(process.version, process.platform)
  if (unfit !== undefined) throw new Error(unfit)
  const accounts = accountsOf(firstUser)
  const inputs = [{ path: `/${NODE_PATH}`, from: parts.node }, ...parts.libraries].map(({ path, from }) => {
    const { size, mtimeMs, ino } = statSync(from)
    return [path, from, size, mtimeMs, ino]
  })
  const key = createHash('sha256')
    .update(JSON.stringify([2, accounts, inputs]))
    .digest('hex')
  const title = `hub: node ${parts.own ? process.version : `for ${parts.arch}`} and its libraries`
  return cachedLayer(cacheDir, `base-${key.slice(0, 32)}`, title, () => layerOf(title, entriesOf(parts, accounts)))
}
